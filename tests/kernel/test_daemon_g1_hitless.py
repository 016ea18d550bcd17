"""G1: packets in flight while the daemon replaces programs; `./dev faults g1` does it a thousand times."""

from pathlib import Path

import pytest

from tests.campaigns import hitless

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", hitless.KINDS)
def test_g1_replacing_loses_no_packet_and_none_meets_no_program(tmp_path: Path, kind: str) -> None:
    figures = hitless.run(tmp_path, 15, kind)
    assert int(figures["packets"]) > 1000

"""G1: packets in flight while the daemon replaces programs; `./dev faults g1` does it a thousand times."""

from pathlib import Path

import pytest

from tests.campaigns import hitless
from tests.support.old_kernel import NEEDS_ATOMICS, NEEDS_TCX

pytestmark = [pytest.mark.kernel, NEEDS_ATOMICS]


KINDS = [pytest.param(kind, marks=NEEDS_TCX if kind == "tcx-link" else ()) for kind in hitless.KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_g1_replacing_loses_no_packet_and_none_meets_no_program(tmp_path: Path, kind: str) -> None:
    figures = hitless.run(tmp_path, 15, kind)
    assert int(figures["packets"]) > 1000

"""G2: a daemon killed at some writes of operations, then something changed by hand; `./dev faults g2-by-hand`: more."""

from pathlib import Path

import pytest

from tests.campaigns.interrupted import campaign
from tests.support.old_kernel import NEEDS_TCX

pytestmark = [pytest.mark.kernel, NEEDS_TCX]

CASES = [
    ("exact begun", "nothing"),
    ("heirs", "nothing"),
    ("order", "old files again"),
    ("match ended", "made anew"),
    ("to link", "other names"),
    ("shared moved", "half of the entries"),
]


@pytest.mark.parametrize(("operation", "by_hand"), CASES)
def test_g2_killed_in_an_operation_all_is_as_the_files_say_that_were_changed_by_hand(
    tmp_path: Path, operation: str, by_hand: str
) -> None:
    assert campaign.run(tmp_path, 1, operations=[operation], by_hand=[by_hand], kills=1)["kills"] == 1

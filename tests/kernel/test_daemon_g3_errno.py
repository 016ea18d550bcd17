"""G3 in its bounded form: one call of an operation fails, everything else is real; all of it: `./dev faults g3`."""

from pathlib import Path

import pytest

from tests.campaigns import errno_pairs, errnos
from tests.support.old_kernel import NEEDS_TCX

pytestmark = [pytest.mark.kernel, NEEDS_TCX]

CASES, PAIRS = 12, 6  # of hundreds for each pair of operations
TOGETHER = [
    ("replace-edge", "detach-wire"),
    ("attach-tail", "runtime"),
    ("reload", "migrate"),
    ("load", "unload"),
    ("xdp-to-link", "glob-replace"),
    ("roll-back", "detach-on-trial"),
    ("runtime-on-trial", "runtime-roll-back"),
]


@pytest.mark.parametrize("names", TOGETHER)
def test_g3_an_errno_is_a_typed_error_and_changes_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    figures = errnos.run(tmp_path, CASES, names=names)
    assert figures["cases"] == CASES
    assert figures["typed errors"]


def test_g3_a_second_errno_leaves_no_hook_empty_and_all_comes_to_order(tmp_path: Path) -> None:
    assert errno_pairs.run(tmp_path, PAIRS, names=("reload", "runtime"))["cases"]

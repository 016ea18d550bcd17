"""G3 in its bounded form: one call of an operation fails, everything else is real; all of it: `./dev faults g3`."""

from pathlib import Path

import pytest

from tests.campaigns import errnos

pytestmark = pytest.mark.kernel

CASES = 12  # of hundreds for each pair of operations


@pytest.mark.parametrize("names", [("replace-edge", "detach-wire"), ("attach-tail", "runtime"), ("reload", "migrate")])
def test_g3_an_errno_is_a_typed_error_and_changes_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    figures = errnos.run(tmp_path, CASES, names)
    assert figures["cases"] == CASES
    assert figures["typed errors"]

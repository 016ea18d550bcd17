"""G14, short: random sequences held against a model; `./dev faults g14` for long."""

from pathlib import Path

import pytest

from tests.campaigns import state_machine
from tests.support.old_kernel import NEEDS_TCX

# A daemon that is killed in this process closes nothing itself: a warning that is an error would keep it open for good.
KILLED = pytest.mark.filterwarnings("ignore:unclosed descriptor:ResourceWarning")
pytestmark = [pytest.mark.kernel, NEEDS_TCX, KILLED]


def test_g14_kernel_is_as_the_model_says_after_each_step(tmp_path: Path) -> None:
    assert state_machine.run(tmp_path, 12, steps=20)["differences"] == 0

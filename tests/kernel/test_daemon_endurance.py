"""G7 and G9, short: cycles that leave nothing, and interfaces made anew; `./dev faults g7 g9` for long."""

from pathlib import Path

import pytest

from tests.campaigns import churn, endurance

pytestmark = pytest.mark.kernel


def test_g7_cycles_of_attach_replace_detach_leave_nothing(tmp_path: Path) -> None:
    assert endurance.run(tmp_path, 10)["left"] == 0


def test_g9_interface_made_anew_gets_its_program_again(tmp_path: Path) -> None:
    assert float(churn.run(tmp_path, 5)["attached after max ms"]) < 2000


def test_g9_events_that_were_lost_are_made_up_for(tmp_path: Path) -> None:
    assert float(churn.run_overrun(tmp_path, 1)["in order after max ms"]) <= 1000

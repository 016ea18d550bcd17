"""G7, G8 and G9, short: nothing is left, nothing written, all is attached again; `./dev faults g7 g8 g9` for long."""

from pathlib import Path

import pytest

from tests.campaigns import adoption, churn, endurance
from tests.support.daemon import SLOWNESS

pytestmark = pytest.mark.kernel


def test_g7_cycles_of_attach_replace_detach_leave_nothing(tmp_path: Path) -> None:
    assert endurance.run(tmp_path, 10)["left"] == 0


@pytest.mark.parametrize("kind", adoption.KINDS)
def test_g8_restart_adopts_many_interfaces_without_a_kernel_write(tmp_path: Path, kind: str) -> None:
    assert adoption.run(tmp_path, 20, kind)["kernel writes"] == 0


@pytest.mark.parametrize("named", [churn.BY_NAME, churn.BY_MATCH], ids=lambda named: next(iter(named)))
def test_g9_interface_made_anew_gets_its_program_again(tmp_path: Path, named: churn.Named) -> None:
    assert float(churn.run(tmp_path, 5, named)["attached after max ms"]) < 2000 * SLOWNESS


def test_daemon_with_nothing_to_do_does_not_wake_up(tmp_path: Path) -> None:
    figures = adoption.run_idle(tmp_path, 4, seconds=0.5)
    assert figures["with 4: wake-ups a minute"] == 0


def test_g9_events_that_were_lost_are_made_up_for(tmp_path: Path) -> None:
    assert float(churn.run_overrun(tmp_path, 1)["in order after max ms"]) <= 1000 * SLOWNESS

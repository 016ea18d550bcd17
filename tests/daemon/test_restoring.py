"""How often a program is put back, over a clock that the test moves."""

from pathlib import Path

import pytest

from xdploaderd.daemon.plan.reasons import MOST_RESTORES, WITHIN_SECONDS
from xdploaderd.daemon.state.records import StateStore
from xdploaderd.daemon.state.restoring import Restoring


def test_entry_is_restored_a_few_times_a_minute() -> None:
    now = [0.0]
    restoring = Restoring(lambda: now[0])
    for _ in range(MOST_RESTORES):
        assert restoring.allows("edge")
        restoring.restored("edge")
        now[0] += 1
    assert not restoring.allows("edge")
    assert restoring.allows("other")
    now[0] = WITHIN_SECONDS + 0.5
    assert restoring.allows("edge")


def test_entry_that_was_given_up_waits_for_a_request() -> None:
    now = [0.0]
    restoring = Restoring(lambda: now[0])
    restoring.restored("edge")
    restoring.give_up("edge")
    now[0] = 10 * WITHIN_SECONDS
    assert not restoring.allows("edge")
    restoring.forgive("edge")
    assert restoring.allows("edge")


def test_what_is_not_pinned_any_more_is_forgotten() -> None:
    restoring = Restoring(lambda: 0.0)
    for name in ("edge", "gone"):
        restoring.restored(name)
        restoring.give_up(name)
    restoring.keep_only({"edge"})
    assert restoring.exhausted() == {"edge"}
    assert restoring.allows("gone")


def test_restart_of_the_daemon_begins_no_new_count(tmp_path: Path) -> None:
    now = [0.0]

    def begin() -> Restoring:
        return Restoring(lambda: now[0], StateStore(tmp_path / "restored", boot_id="boot"))

    restoring = begin()
    for _ in range(MOST_RESTORES):
        restoring.restored("edge")
    restoring.give_up("other")
    assert begin().exhausted() == {"edge", "other"}
    now[0] = WITHIN_SECONDS + 0.5
    assert begin().exhausted() == {"other"}
    begin().forgive("other")
    assert begin().exhausted() == frozenset()


@pytest.mark.parametrize("values", [{"done": [1]}, {"done": {"edge": 5, "gate": ["x"]}}, {"given_up": {"edge": 1}}, {}])
def test_file_that_says_something_else_counts_nothing(tmp_path: Path, values: dict[str, object]) -> None:
    StateStore(tmp_path / "restored", boot_id="boot").save(values)
    store = StateStore(tmp_path / "restored", boot_id="boot")
    assert Restoring(lambda: 0.0, store).exhausted() == frozenset()

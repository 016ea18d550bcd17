"""Plans where somebody else has the hook, or took the program off it."""

from dataclasses import replace

import pytest

from tests.daemon.fake_world import FakeWorld, entry, want
from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.plan.actions import Attach, Refuse, Replace
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.status import State
from xdploaderd.errors import HookBusyError
from xdploaderd.hooks import Hook, OnForeign


def test_foreign_program_is_refused_with_id() -> None:
    world = FakeWorld("eth0")
    world.hooks[world.place("eth0")] = 55
    (action,) = make_plan((want(),), world.observed())
    assert isinstance(action, Refuse)
    assert action.state is State.FOREIGN
    assert isinstance(action.error, HookBusyError)
    assert action.error.prog_id == 55


def test_foreign_program_is_replaced_with_force() -> None:
    world = FakeWorld("eth0")
    world.hooks[world.place("eth0")] = 55
    (action,) = make_plan((want(entry(force=True)),), world.observed())
    assert isinstance(action, Replace)
    assert (action.owner, action.gap) == (None, False)


def test_foreign_filter_of_other_priority_is_no_obstacle() -> None:
    world = FakeWorld("eth0")
    world.hooks[world.place("eth0", Hook.TC_INGRESS)] = 55
    config = entry(hook=Hook.TC_INGRESS, priority=2)
    (action,) = make_plan((want(config),), world.observed())
    assert isinstance(action, Attach)


def displaced_world(*, on_foreign: OnForeign, there: int = 0, ifindex: int = 1) -> tuple[FakeWorld, AttachmentConfig]:
    """A world where somebody took our program off eth0, and perhaps put another there."""
    world = FakeWorld("eth0")
    config = entry(on_foreign=on_foreign)
    owned = world.add_owned(config, 5)
    assert owned.record is not None
    world.owned["edge"] = replace(owned, record=replace(owned.record, ifindex=ifindex))
    if there:
        world.hooks[world.place("eth0")] = there
    return world, config


@pytest.mark.parametrize("there", [0, 9])
@pytest.mark.parametrize(
    ("on_foreign", "state"), [(OnForeign.REPORT, State.FOREIGN), (OnForeign.YIELD, State.DETACHED)]
)
def test_program_taken_off_by_others_is_told_and_left(on_foreign: OnForeign, state: State, there: int) -> None:
    world, config = displaced_world(on_foreign=on_foreign, there=there)
    for force in (False, True):
        (action,) = make_plan([want(replace(config, force=force))], world.observed())
        assert isinstance(action, Refuse)
        assert action.state is state


@pytest.mark.parametrize("there", [0, 9])
def test_restore_puts_our_program_back_while_it_may(there: int) -> None:
    world, config = displaced_world(on_foreign=OnForeign.RESTORE, there=there)
    (action,) = make_plan([replace(want(config), may_restore=True)], world.observed())
    assert isinstance(action, Replace if there else Attach)
    assert (action.from_pin, action.restores) == (True, True)
    (action,) = make_plan([want(config)], world.observed())
    assert isinstance(action, Refuse)
    assert "it was put back 3 times within 60 s and taken off again, and is reported now" in str(action.error)


def test_what_was_asked_for_again_is_attached_as_if_new() -> None:
    world, config = displaced_world(on_foreign=OnForeign.REPORT)
    (action,) = make_plan([replace(want(config), retake=True)], world.observed())
    assert isinstance(action, Attach)
    world, config = displaced_world(on_foreign=OnForeign.REPORT, there=9)
    (action,) = make_plan([replace(want(config), retake=True)], world.observed())
    assert isinstance(action, Refuse)


def test_interface_of_another_index_is_new_and_gets_its_program() -> None:
    for policy in OnForeign:
        world, config = displaced_world(on_foreign=policy, ifindex=7)
        (action,) = make_plan([want(config)], world.observed())
        assert isinstance(action, Attach)
        assert not action.restores

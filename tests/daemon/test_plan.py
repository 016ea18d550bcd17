"""The planner's rules, one claim each."""

from dataclasses import replace

import pytest

from tests.daemon.fake_world import FakeWorld, entry, prog, want
from xdploaderd.daemon.plan.actions import Action, Attach, Detach, Refuse, Repair, Replace, Wait, describe
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.plan.world import Owned, Wanted
from xdploaderd.errors import FileError
from xdploaderd.hooks import Hook, XdpMode


def only(actions: tuple[Action, ...]) -> Action:
    assert len(actions) == 1, actions
    return actions[0]


def attached(config: object = None) -> tuple[FakeWorld, Wanted]:
    """Return a world in which the entry is attached as it wants."""
    world = FakeWorld("eth0", "eth1")
    wish = want(config)  # type: ignore[arg-type]
    world.add_owned(wish.config, 7)
    world.hooks[world.place("eth0", wish.config.hook)] = 7
    return world, wish


def test_free_hook_is_attached_from_the_file() -> None:
    world = FakeWorld("eth0")
    action = only(make_plan((want(),), world.observed()))
    assert isinstance(action, Attach)
    assert not action.from_pin


@pytest.mark.parametrize("hook", list(Hook))
def test_attached_program_of_same_digest_needs_nothing(hook: Hook) -> None:
    world, wish = attached(entry(hook=hook))
    assert make_plan((wish,), world.observed()) == ()


@pytest.mark.parametrize("mode", [XdpMode.NATIVE, XdpMode.UNSPECIFIED])
def test_unspecified_mode_is_content_with_any_slot(mode: XdpMode) -> None:
    world, wish = attached(entry(mode=mode))
    assert make_plan((wish,), world.observed()) == ()


def test_missing_interface_waits() -> None:
    action = only(make_plan((want(),), FakeWorld().observed()))
    assert isinstance(action, Wait)
    assert "eth0" in action.reason


def test_recreated_interface_gets_the_pinned_program() -> None:
    world, wish = attached()
    world.hooks.clear()
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Attach)
    assert action.from_pin


def test_changed_object_replaces_in_place() -> None:
    world, wish = attached()
    action = only(make_plan((want(sha1="b" * 40),), world.observed()))
    assert isinstance(action, Replace)
    assert (action.owner, action.gap, action.from_pin) == (wish.config.name, False, False)
    assert action.reason == "the object file changed"


def test_other_program_of_the_object_replaces() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry(program="other")),), world.observed()))
    assert isinstance(action, Replace)
    assert action.reason == "the entry names another program"


def test_other_values_for_the_object_replace() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry(globals=(("limit", "5"),))),), world.observed()))
    assert isinstance(action, Replace)
    assert (action.from_pin, action.reason) == (False, "the entry sets other values in the object")


def test_program_of_unknown_origin_is_replaced() -> None:
    world, wish = attached()
    world.owned["edge"] = Owned(name="edge", prog=prog(7))
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Replace)
    assert not action.gap


def test_gone_entry_is_detached_and_forgotten() -> None:
    world, _ = attached()
    action = only(make_plan((), world.observed()))
    assert isinstance(action, Detach)
    assert (action.places, action.forget) == ((world.place("eth0"),), True)


def test_gone_entry_whose_hook_was_taken_over_loses_its_pins_only() -> None:
    world, _ = attached()
    world.hooks[world.place("eth0")] = 55
    action = only(make_plan((), world.observed()))
    assert isinstance(action, Detach)
    assert action.places == ()


def test_held_entry_is_detached_once() -> None:
    world, wish = attached()
    held = want(wish.config, held=True)
    assert isinstance(only(make_plan((held,), world.observed())), Detach)
    world.owned.clear()
    world.hooks.clear()
    assert make_plan((held,), world.observed()) == ()


def test_change_of_mode_is_refused_and_names_the_gap() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry(mode=XdpMode.SKB)),), world.observed()))
    assert isinstance(action, Refuse)
    assert action.state is State.FAILED
    assert "without a program" in str(action.error)


def test_change_of_mode_with_allow_gap_has_a_gap() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry(mode=XdpMode.SKB, allow_gap=True)),), world.observed()))
    assert isinstance(action, Replace)
    assert action.gap


def test_renamed_entry_takes_over_without_a_detach() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry("new")),), world.observed()))
    assert isinstance(action, Replace)
    assert action.owner == "edge"


def test_moved_entry_attaches_before_it_leaves_the_old_interface() -> None:
    world, _ = attached()
    action = only(make_plan((want(entry(interface="eth1")),), world.observed()))
    assert isinstance(action, Attach)
    assert action.from_pin
    assert action.strays == (world.place("eth0"),)
    assert action.reason == f"nothing is attached there; then it goes from {world.place('eth0')}"


def test_program_on_a_renamed_interface_is_taken_off() -> None:
    world, wish = attached()
    del world.indexes["eth0"]
    first, second = make_plan((wish,), world.observed())
    assert isinstance(first, Detach)
    assert not first.forget
    assert isinstance(second, Wait)


def test_interface_is_found_by_alternative_name() -> None:
    world = FakeWorld("eth0")
    observed = world.observed()
    interface = observed.interfaces[0]
    assert observed.interface("eth0") == interface
    assert observed.interface("lan") is None


def test_staged_program_on_the_hook_is_put_in_force() -> None:
    world, wish = attached()
    world.owned["edge"] = Owned(name="edge", prog=prog(6), staged=prog(7))
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Repair)
    assert action.promote


def test_staged_program_that_never_ran_is_dropped() -> None:
    world, wish = attached()
    world.owned["edge"] = Owned(name="edge", prog=prog(7), staged=prog(8))
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Repair)
    assert not action.promote


def test_arrays_left_by_a_change_cut_short_are_removed() -> None:
    world, wish = attached()
    world.owned["edge"] = replace(world.owned["edge"], leftovers=True)
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Repair)
    assert not action.promote


def test_program_that_runs_without_its_pin_is_pinned_again_before_anything_else() -> None:
    world, wish = attached()
    world.owned["edge"] = replace(world.owned["edge"], pinned=False, leftovers=True, emptied=True)
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Repair)
    assert (action.unpinned, action.promote) == (7, False)


def test_program_without_its_pin_is_left_alone_where_we_may_not_open_it() -> None:
    world, wish = attached()
    world.owned["edge"] = replace(world.owned["edge"], pinned=False, sure=False, leftovers=True, pin="/pins/edge/prog")
    for held in (False, True):
        action = only(make_plan((replace(wish, held=held),), world.observed()))
        assert isinstance(action, Refuse)
        assert "`mkdir -pm700 /pins/edge; bpftool prog pin id 7 /pins/edge/prog`" in str(action.error)


def test_program_whose_program_array_was_emptied_is_replaced_in_place() -> None:
    world, wish = attached()
    world.owned["edge"] = replace(world.owned["edge"], emptied=True)
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Replace)
    assert (action.owner, action.from_pin, action.gap) == ("edge", False, False)
    assert "emptied" in action.reason


def test_repair_of_one_entry_does_not_hold_up_another() -> None:
    world, wish = attached()
    world.owned["edge"] = Owned(name="edge", prog=prog(7), staged=prog(8))
    actions = make_plan((wish, want(entry("other", "eth1"))), world.observed())
    assert [type(a) for a in actions] == [Repair, Attach]


def test_place_of_an_entry_under_repair_is_not_vacated_by_the_one_that_is_gone() -> None:
    world, _ = attached()
    heir = want(entry("heir"))
    world.owned["heir"] = Owned(name="heir", prog=None, staged=prog(8))
    assert [(type(a), a.name) for a in make_plan((heir,), world.observed())] == [(Repair, "heir")]


def test_unreadable_object_leaves_the_program_running() -> None:
    world, wish = attached()
    action = only(make_plan((Wanted(config=wish.config, problem=FileError("no such file")),), world.observed()))
    assert isinstance(action, Refuse)
    assert describe(action).action == "refuse"
    assert describe(action).reason == "no such file"


def test_swapped_entries_replace_each_other_and_detach_nothing() -> None:
    world = FakeWorld("eth0", "eth1")
    left, right = entry("left", "eth0"), entry("right", "eth1", program="other")
    world.add_owned(left, 1)
    world.add_owned(right, 2)
    world.hooks = {world.place("eth0"): 1, world.place("eth1"): 2}
    swapped = (want(entry("left", "eth1")), want(entry("right", "eth0", program="other")))
    actions = make_plan(swapped, world.observed())
    assert [type(a) for a in actions] == [Replace, Replace]
    assert all(isinstance(a, Replace) and a.from_pin and a.strays == () for a in actions)


def test_filter_of_another_class_is_changed_in_place_with_the_pinned_program() -> None:
    world = FakeWorld("eth0")
    config = entry(hook=Hook.TC_INGRESS, classid=0x10002)
    world.add_owned(config, 5)
    world.hooks[world.place("eth0", Hook.TC_INGRESS)] = 5
    (action,) = make_plan([want(config)], world.observed())
    assert isinstance(action, Replace)
    assert (action.owner, action.from_pin, action.gap, action.place.classid) == ("edge", True, False, 0x10002)
    assert "class id" in action.reason


@pytest.mark.parametrize("allow_gap", [False, True])
def test_filter_of_another_protocol_is_refused_or_with_allow_gap_changed_with_a_gap(*, allow_gap: bool) -> None:
    world = FakeWorld("eth0")
    config = entry(hook=Hook.TC_INGRESS, protocol=0x0800, allow_gap=allow_gap)
    world.add_owned(config, 5)
    world.hooks[world.place("eth0", Hook.TC_INGRESS)] = 5
    (action,) = make_plan([want(config)], world.observed())
    if allow_gap:
        assert isinstance(action, Replace)
        assert (action.gap, action.place.protocol) == (True, 0x0800)
    else:
        assert isinstance(action, Refuse)
        assert "wanted for protocol ip" in str(action.error)


@pytest.mark.parametrize(("noted", "left"), [(0, 2), (2, 0)])
def test_place_of_a_program_that_a_change_cut_short_did_not_note_is_noted(noted: int, left: int) -> None:
    world, wish = attached()
    owned = world.owned["edge"]
    assert owned.record is not None
    record = replace(owned.record, ifindex=noted, left=left)
    world.owned["edge"] = replace(owned, record=record)
    action = only(make_plan((wish,), world.observed()))
    assert isinstance(action, Repair)
    assert action.runs_at == world.place("eth0")
    world.owned["edge"] = replace(owned, record=replace(record, ifindex=1, left=0))
    assert make_plan((wish,), world.observed()) == ()

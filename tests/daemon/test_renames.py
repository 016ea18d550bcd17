"""Who follows an interface to another name, and in which order where names were passed on."""

from dataclasses import replace

import pytest

from tests.daemon.fake_world import FakeWorld, entry, want
from xdploaderd.config.interface_match import Match
from xdploaderd.daemon.plan.matching import resolve
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.renames import Renames, plan_renames
from xdploaderd.daemon.plan.world import Observed, Wanted
from xdploaderd.errors import FileError
from xdploaderd.hooks import Hook

GLOB = want(entry("all", "", Hook.XDP, match=Match(name="m*")))


def world(*moves: str) -> tuple[tuple[Wanted, ...], Observed]:
    """Return what is wanted and seen after each interface OLD got the name NEW, of moves "OLD NEW"."""
    pairs = [move.split() for move in moves]
    made = FakeWorld(*(new for _, new in pairs))
    for number, (old, new) in enumerate(pairs, 1):
        owned = made.add_owned(entry(f"all@{old}", old), 10 + number)
        assert owned.record is not None
        made.owned[owned.name] = replace(owned, record=replace(owned.record, ifindex=made.indexes[new], interface=old))
        made.hooks[made.place(new)] = 10 + number
    return resolve((GLOB,), made.observed().interfaces), made.observed()


def order(plan: Renames) -> list[tuple[str, str]]:
    return [(rename.name, str(rename.wanted.config.name)) for rename in plan.actions]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        (("m1 m2", "m2 m3", "m3 m4"), [("all@m3", "all@m4"), ("all@m2", "all@m3"), ("all@m1", "all@m2")]),
        (("m1 m2", "m2 m1"), [("all@m1", "all@:1")]),
        (("m1 m2", "m2 m3", "m3 m1", "m5 m6"), [("all@m5", "all@m6"), ("all@m1", "all@:1")]),
        (("m1 m1", "m2 m2"), []),
    ],
)
def test_f12_who_has_the_name_of_another_goes_first(moves: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    wanted, observed = world(*moves)
    assert order(plan_renames(wanted, observed)) == expected
    planned = [type(action).__name__ for action in make_plan(wanted, observed)]
    assert planned == ["Rename"] * len(expected)  # and nobody's program is replaced by another's


def test_f12_circle_is_closed_from_the_name_of_nobody() -> None:
    wanted, observed = world("m1 m2", "m2 m1")
    aside = replace(observed.owned["all@m1"], name="all@:1")
    now = replace(observed, owned={"all@:1": aside, "all@m2": observed.owned["all@m2"]})
    assert order(plan_renames(wanted, now)) == [("all@m2", "all@m1"), ("all@:1", "all@m2")]


def test_f12_name_of_one_that_left_the_glob_is_free_when_its_program_is_off() -> None:
    wanted, observed = world("m1 w1", "m2 m1")
    plan = plan_renames(wanted, observed)
    assert (order(plan), plan.evicted) == ([], {"all@m1"})
    (off,) = make_plan(wanted, observed)
    assert (off.name, type(off).__name__) == ("all@m1", "Detach")


def test_f12_entry_that_cannot_be_carried_out_follows_too() -> None:
    wanted, observed = world("m1 m2")
    refused = tuple(replace(one, problem=FileError("no such file")) for one in wanted)
    assert order(plan_renames(refused, observed)) == [("all@m1", "all@m2")]


@pytest.mark.parametrize(("sure", "expected"), [(True, [("all@m1", "all@m2")]), (False, [])])
def test_program_whose_pin_was_removed_follows_when_it_is_pinned_again(
    sure: bool, expected: list[tuple[str, str]]
) -> None:
    wanted, observed = world("m1 m2")
    lost = replace(observed.owned["all@m1"], pinned=False, sure=sure)
    assert order(plan_renames(wanted, replace(observed, owned={"all@m1": lost}))) == expected


def test_name_that_a_change_cut_short_keeps_is_waited_for() -> None:
    wanted, observed = world("m1 m2", "m2 w2")
    staged = replace(observed.owned["all@m2"], staged=observed.owned["all@m2"].prog)
    assert order(plan_renames(wanted, replace(observed, owned={**observed.owned, "all@m2": staged}))) == []

"""Which interfaces an entry is for, and who has a place that several want."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWorld, entry, want
from xdploaderd.config.interface_match import Match
from xdploaderd.daemon.loop.orphans import Orphans
from xdploaderd.daemon.plan.actions import Attach, Detach, Refuse, Rename, Replace, Wait
from xdploaderd.daemon.plan.matching import may_be_for, resolve
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.plan.world import Marks, Observed, Owned, Wanted
from xdploaderd.errors import FileError
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import Interface
from xdploaderd.uapi.bpf import Ifindex

ETH0 = Interface(index=Ifindex(1), name="eth0", mac="02:00:00:00:00:01", altnames=("up", "wan0"), driver="e1000e")
ETH1 = Interface(index=Ifindex(2), name="eth1", mac="02:00:00:00:00:02", kind="veth")
LINKS = (ETH0, ETH1)


def glob(entry_name: str = "all", /, hook: Hook = Hook.XDP, **match: Any) -> Wanted:
    return want(entry(entry_name, "", hook, match=Match(**match or {"name": "eth*"})))


def names(*wanted: Wanted) -> list[str]:
    return [f"{w.config.name} {w.config.interface}".strip() for w in resolve(wanted, LINKS)]


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"name": "eth*"}, ["all@eth0 eth0", "all@eth1 eth1"]),
        ({"name": "eth[!1]"}, ["all@eth0 eth0"]),
        ({"altname": "wa?0"}, ["all@eth0 eth0"]),
        ({"mac": "02:00:00:00:00:02"}, ["all@eth1 eth1"]),
        ({"driver": "veth"}, ["all@eth1 eth1"]),
        ({"driver": "e1000e"}, ["all@eth0 eth0"]),
        ({"driver": "e1000e", "name": "eth1"}, ["all"]),
        ({"name": "eth1"}, ["all eth1"]),
        ({"altname": "wan0"}, ["all eth0"]),
        ({"ifindex": 2}, ["all eth1"]),
        ({"ifindex": 2, "mac": "02:00:00:00:00:01"}, ["all"]),
        ({"name": "e.h*"}, ["all"]),
    ],
)
def test_every_part_that_is_given_must_hold(match: dict[str, Any], found: list[str]) -> None:
    assert names(glob(**match)) == found


def test_entry_without_an_interface_tells_which_it_wants() -> None:
    (nobody,) = resolve((glob(mac="02:00:00:00:00:09"),), LINKS)
    assert "mac '02:00:00:00:00:09'" in nobody.missing
    (nobody,) = resolve((want(entry(interface="eth7")),), LINKS)
    assert "'eth7'" in nobody.missing


def test_exact_entry_wins_over_the_glob() -> None:
    assert names(glob(), want(entry("edge", "eth1"))) == ["all@eth0 eth0", "edge eth1"]
    assert names(glob(), glob("edge", altname="up")) == ["all@eth1 eth1", "edge eth0"]


def test_entries_on_other_hooks_or_priorities_are_no_rivals() -> None:
    assert len(names(glob(), glob("tc", hook=Hook.TC_INGRESS))) == 4
    second = replace(glob("b", hook=Hook.TC_INGRESS).config, priority=2)
    assert len(names(glob("a", hook=Hook.TC_INGRESS), want(second))) == 4


def test_links_of_one_tcx_hook_are_no_rivals() -> None:
    links = [want(entry(name, "eth0", Hook.TC_INGRESS, attach=AttachKind.LINK)) for name in "ab"]
    assert [found.problem for found in resolve(links, LINKS)] == [None, None]
    filters = [want(entry(name, "eth0", Hook.TC_INGRESS)) for name in "ab"]
    assert all(found.problem for found in resolve(filters, LINKS))


def test_two_globs_on_one_interface_are_refused_there_and_nowhere_else() -> None:
    wanted = resolve((glob(), glob("one", mac="02:00:00:00:00:02")), LINKS)
    world = FakeWorld("eth0", "eth1")
    actions = {action.name: action for action in make_plan(wanted, world.observed())}
    assert isinstance(actions["all@eth0"], Attach)
    for name in ("all@eth1", "one@eth1"):
        refused = actions[name]
        assert isinstance(refused, Refuse)
        assert refused.state is State.FAILED
        assert "'eth1'" in str(refused.error)
        assert "'all' and 'one'" in str(refused.error)
        assert "an entry with `interface: eth1` would win" in str(refused.error)


def test_two_exact_entries_that_come_to_one_interface_are_refused() -> None:
    wanted = resolve((want(entry("a", "eth0")), glob("b", altname="up")), LINKS)
    assert len(wanted) == 2
    assert all("'a' and 'b' alike; let one of them go" in str(w.problem) for w in wanted)


def test_what_was_resolved_stays_as_it_is() -> None:
    once = resolve((glob(), want(entry("edge", "eth1")), glob("none", name="ppp*")), LINKS)
    assert resolve(once, LINKS) == once


def test_marks_of_one_interface_hold_for_it_alone() -> None:
    marks = Marks(held=frozenset({"all@eth0"}), retake=frozenset({"all@eth1"}), exhausted=frozenset({"all@eth0"}))
    first, second = resolve((replace(glob(), marks=marks),), LINKS)
    assert (first.held, first.retake, first.may_restore) == (True, False, False)
    assert (second.held, second.retake, second.may_restore) == (False, True, True)
    asked = Marks(asked=frozenset({"all@eth1"}), done=frozenset({"all@eth0"}))
    assert [one.asked for one in resolve((replace(glob(), marks=asked),), LINKS)] == [False, True]
    assert [one.asked for one in resolve((replace(glob(), asked=True, marks=asked),), LINKS)] == [False, True]


def renamed() -> FakeWorld:
    """Return a world where eth0, with the program of all@eth0, is called eth5 now."""
    world = FakeWorld("eth5")
    wish = entry("all@eth0", "eth0")
    owned = world.add_owned(wish, 7)
    assert owned.record is not None
    world.owned["all@eth0"] = replace(owned, record=replace(owned.record, ifindex=1, interface="eth0"))
    world.hooks[world.place("eth5")] = 7
    return world


def test_f12_interface_renamed_within_the_glob_keeps_its_program() -> None:
    observed = renamed().observed()
    wanted = resolve((glob(),), observed.interfaces)
    (action,) = make_plan(wanted, observed)
    assert isinstance(action, Rename)
    assert (action.name, action.wanted.config.name) == ("all@eth0", "all@eth5")


def test_f12_interface_renamed_out_of_the_glob_is_detached_at_once() -> None:
    observed = renamed().observed()
    wanted = resolve((glob(name="eth0*"),), observed.interfaces)
    spared = Orphans(60).look(wanted, observed, frozenset())
    (wait, action) = make_plan(wanted, observed, spared.keys())
    assert isinstance(action, Detach)
    assert (action.name, action.forget, len(action.places)) == ("all@eth0", True, 1)
    assert wait.name == "all"


def test_f11_program_of_an_interface_that_is_gone_is_kept_for_the_grace_time() -> None:
    observed = renamed().observed()
    observed = replace(observed, interfaces=(), occupants=())
    now = [100.0]
    orphans = Orphans(60, clock=lambda: now[0])
    wanted = resolve((glob(),), ())
    assert orphans.look(wanted, observed, frozenset()) == {"all@eth0": 160.0}
    now[0] = 160.0
    assert orphans.look(wanted, observed, frozenset()) == {}
    orphans = Orphans(60, clock=lambda: now[0])
    assert orphans.look(wanted, observed, frozenset({"all"})) == {}


def test_empty_directory_of_pins_is_no_orphan() -> None:
    observed = Observed(interfaces=(ETH0,), owned={"left": Owned(name="left", prog=None)})
    assert not Orphans(60).look((), observed, frozenset())
    (action,) = make_plan((), observed)
    assert isinstance(action, Detach)
    assert action.forget


def test_orphan_is_swept_on_request_and_a_second_one_waits() -> None:
    observed = renamed().observed()
    orphans = Orphans(60)
    assert orphans.look((), observed, frozenset())
    orphans.sweep("other")
    assert orphans.look((), observed, frozenset())
    orphans.sweep("all@eth0")
    assert not orphans.look((), observed, frozenset())


def test_orphan_is_left_alone_for_as_long_as_its_interface_is_protected() -> None:
    observed = renamed().observed()
    now, protected = [100.0], {"eth5"}
    orphans = Orphans(60, clock=lambda: now[0], protected=lambda: protected)
    for _ in range(2):
        assert orphans.look((), observed, frozenset()) == {"all@eth0": math.inf}
        orphans.sweep()
        now[0] += 100.0
    assert orphans.look((), observed, frozenset()) == {"all@eth0": math.inf}
    protected.clear()
    assert orphans.look((), observed, frozenset()) == {"all@eth0": 360.0}
    protected.add("eth5")
    orphans.reject("all@eth0")
    assert not orphans.look((), observed, frozenset())


def test_f12_program_follows_its_interface_to_a_name_whose_own_interface_is_gone() -> None:
    world = renamed()
    left = world.add_owned(entry("all@eth5", "eth5"), 8)
    assert left.record is not None
    world.owned["all@eth5"] = replace(left, record=replace(left.record, ifindex=99))
    observed = world.observed()
    (action,) = make_plan(resolve((glob(),), observed.interfaces), observed)
    assert isinstance(action, Rename)
    assert (action.name, action.wanted.config.name) == ("all@eth0", "all@eth5")


@pytest.mark.parametrize(
    ("fields", "done"), [({"problem": FileError("no such file")}, Refuse), ({"sha1": "b" * 40}, Replace)]
)
def test_program_of_the_glob_stays_until_the_exact_entry_has_its_place(fields: Any, done: type) -> None:
    observed = renamed().observed()
    observed = replace(observed, owned={"all@eth5": replace(observed.owned["all@eth0"], name="all@eth5")})
    wanted = resolve((glob(), replace(want(entry("edge", "eth5")), **fields)), observed.interfaces)
    actions = make_plan(wanted, observed)
    assert [type(action) for action in actions if not isinstance(action, Wait)] == [done]


@pytest.mark.parametrize(
    ("fields", "there", "absent"),
    [
        ({"interface": "eth0"}, True, True),
        ({"interface": "uplink"}, True, False),
        ({"interface": "eth1"}, False, False),
        ({"interface": "", "match": Match(name="eth*")}, True, True),
        ({"interface": "", "match": Match(name="lan*")}, False, False),
        ({"interface": "", "match": Match(name="eth*", mac="02:00:00:00:00:99")}, False, True),
        ({"interface": "", "match": Match(driver="ixgbe")}, True, True),  # it was not asked for yet
    ],
)
def test_entry_may_be_for_an_interface_that_fits_or_is_not_there(
    fields: dict[str, Any], there: bool, absent: bool
) -> None:
    config = entry("edge", **fields)
    found = Interface(index=Ifindex(1), name="eth0", altnames=("uplink",), mac="02:00:00:00:00:01")
    assert (may_be_for(config, "eth0", found), may_be_for(config, "eth0", None)) == (there, absent)


def test_orphan_that_gave_way_to_what_is_on_trial_is_left_alone_until_that_has_ended() -> None:
    observed = renamed().observed()
    (owned,) = observed.owned.values()
    assert owned.prog is not None
    now, gave_way = [100.0], {owned.prog.id}
    orphans = Orphans(60, clock=lambda: now[0], gave_way=lambda: gave_way)
    for _ in range(2):
        assert orphans.look((), observed, frozenset()) == {"all@eth0": math.inf}
        orphans.sweep()
        now[0] += 100.0
    assert orphans.look((), observed, frozenset()) == {"all@eth0": math.inf}
    gave_way.clear()
    assert orphans.look((), observed, frozenset()) == {"all@eth0": 360.0}
    gave_way.add(owned.prog.id)
    orphans.reject("all@eth0")
    assert not orphans.look((), observed, frozenset())

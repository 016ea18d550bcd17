"""Snapshots: what happens to an interface while it is looked at is nothing that somebody did to a program on it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import cast

from tests.daemon.fake_world import FakeWorld, entry, prog, want
from tests.fakes.rtnl import FakeRtnl
from xdploaderd.daemon.execute.observe import Observer
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.plan.planner import make_plan
from xdploaderd.daemon.plan.world import Observed, Owned
from xdploaderd.hooks import Hook
from xdploaderd.info import TcFilter
from xdploaderd.uapi.bpf import Ifindex, ProgType

XDP, TC = entry("edge"), entry("tail", hook=Hook.TC_INGRESS)


class VanishingRtnl(FakeRtnl):
    """An interface that is deleted between the dump of links and that of its filters."""

    async def filters(self, ifindex: Ifindex, hook: Hook) -> tuple[TcFilter, ...]:
        if ifindex in self.links:
            self.remove_interface(self.links[ifindex].name)
        return await super().filters(ifindex, hook)


class PinnedPrograms:
    """As much of OwnPrograms as a snapshot asks: an XDP program and a filter that were attached to one interface."""

    def __init__(self, index: Ifindex) -> None:
        world = FakeWorld()
        pinned = (world.add_owned(XDP, 5), replace(world.add_owned(TC, 6), prog=prog(6, ProgType.SCHED_CLS)))
        self._owned = tuple(replace(one, record=replace(one.record, ifindex=index)) for one in pinned if one.record)

    @property
    def whereabouts(self) -> "PinnedPrograms":
        return self

    def owned(self) -> tuple[Owned, ...]:
        return self._owned

    def keep_only(self, _owned: object) -> None:
        pass

    def keep_clsact_of(self, _indexes: object) -> None:
        pass

    def went(self, owned: Sequence[Owned]) -> tuple[Owned, ...]:
        return tuple(replace(one, record=replace(one.record, away=1)) for one in owned if one.record)

    def info_of(self, _prog_id: object) -> None:
        return None


async def _snapshot(rtnl: FakeRtnl) -> Observed:
    index = rtnl.add_interface("eth0").index
    rtnl.put_xdp("eth0", 5)
    with ThreadPoolExecutor(1) as worker:
        observer = Observer(rtnl, cast("OwnPrograms", PinnedPrograms(index)), worker)
        return await observer.snapshot((want(XDP), want(TC)))


def test_interface_that_goes_while_it_is_looked_at_leaves_no_program_behind() -> None:
    seen = asyncio.run(_snapshot(VanishingRtnl()))
    assert (seen.interfaces, seen.occupants) == ((), ())
    actions = make_plan((want(XDP), want(TC)), seen)
    assert {(action.name, type(action).__name__) for action in actions} == {("edge", "Wait"), ("tail", "Wait")}


def test_filter_that_is_gone_from_an_interface_that_stays_was_taken_off() -> None:
    seen = asyncio.run(_snapshot(FakeRtnl()))
    assert [occupant.prog_id for occupant in seen.occupants] == [5]
    (action,) = make_plan((want(XDP), want(TC)), seen)
    assert (action.name, type(action).__name__) == ("tail", "Refuse")


def _states(rtnl: FakeRtnl, happens: Callable[[], None]) -> list[tuple[str, str, int]]:
    """Return by entry what is planned, and whether its record says that the interface went."""
    index = rtnl.add_interface("eth0").index
    rtnl.put_xdp("eth0", 5)

    async def main() -> Observed:
        with ThreadPoolExecutor(1) as worker:
            observer = Observer(rtnl, cast("OwnPrograms", PinnedPrograms(index)), worker)
            happens()
            return await observer.snapshot((want(XDP), want(TC)))

    seen = asyncio.run(main())
    actions = {action.name: type(action).__name__ for action in make_plan((want(XDP), want(TC)), seen)}
    records = {name: owned.record for name, owned in seen.owned.items()}
    return [(name, actions.get(name, ""), record.away) for name, record in records.items() if record]


def test_f11_interface_that_is_back_with_its_index_lost_no_program_to_others() -> None:
    rtnl = FakeRtnl()

    def happens() -> None:
        interface = rtnl.named("eth0")
        rtnl.remove_interface("eth0")
        rtnl.bring_back(replace(interface, xdp=()))

    assert _states(rtnl, happens) == [("edge", "Attach", 1), ("tail", "Attach", 1)]


def test_program_that_is_seen_on_an_interface_that_went_meanwhile_may_be_from_before() -> None:
    rtnl = FakeRtnl()

    def happens() -> None:
        interface = rtnl.named("eth0")
        rtnl.remove_interface("eth0")
        rtnl.bring_back(interface)

    assert _states(rtnl, happens) == [("edge", "", 0), ("tail", "Attach", 1)]

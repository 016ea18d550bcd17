"""One snapshot of interfaces, hooks and own pins; reads only."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor as Pool
from dataclasses import replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.execute.link_places import with_links
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.pins.unpinned import pinned_or_running
from xdploaderd.daemon.plan.matching import resolve
from xdploaderd.daemon.plan.planner import names_of
from xdploaderd.daemon.plan.world import Observed, Occupant, Owned, Wanted, tc_occupant, wanted_place, xdp_occupants
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import Interface, LinkInfo, ProgInfo
from xdploaderd.net.door import RESYNC, Netlink
from xdploaderd.net.features import active_features
from xdploaderd.uapi.bpf import Ifindex, ProgId, ProgType

TC_HOOKS = (Hook.TC_INGRESS, Hook.TC_EGRESS)

TcxHook = tuple[Ifindex, Hook]


class Observer:
    """Takes snapshots. Raises AttachError when netlink fails, PinError and KernelError for the pins."""

    def __init__(
        self,
        rtnl: Netlink,
        programs: OwnPrograms,
        worker: Pool,
        entries: Callable[[], AbstractSet[str]] = frozenset,
    ) -> None:
        self._rtnl = rtnl
        self._programs = programs
        self._whereabouts = programs.whereabouts
        self._worker = worker
        self._entries = entries  # those in force, and those that have just ended

    async def snapshot(self, wanted: Sequence[Wanted]) -> Observed:
        """Return the world as far as it matters for the entries and for what is ours."""
        owned = await asyncio.get_running_loop().run_in_executor(self._worker, self._programs.owned)
        interfaces = self._with_drivers(wanted, await self._rtnl.interfaces())
        wanted = resolve(wanted, interfaces)
        interfaces = _with_features(wanted, interfaces)
        pinned = [one for one in owned if one.pinned]
        occupants: list[Occupant] = list(with_links(xdp_occupants(interfaces), pinned, interfaces))
        for interface in self._with_filters(wanted, owned, interfaces):
            for hook in TC_HOOKS:
                filters = await self._rtnl.filters(interface.index, hook)
                occupants += [tc_occupant(interface, item) for item in filters]
        names = self._entries() | {entry_of(want.config.name) for want in wanted}
        owned = pinned_or_running(owned, occupants, names, names_of(wanted))
        await asyncio.get_running_loop().run_in_executor(self._worker, self._programs.keep_only, owned)
        seen = Observed(
            interfaces=interfaces,
            occupants=tuple(occupants),
            owned={o.name: o for o in owned},
            chains=await self._chains(occupants),
        )
        return self._with_foreign_names(wanted, await self._without_departed(await self._without_gone(seen)))

    async def links_of(self, names: Sequence[str]) -> Mapping[str, tuple[LinkInfo, ...]]:
        """Return what the kernel tells of the pinned links of these attachments. Raises PinError, KernelError."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._programs.links_of, names)

    def _with_drivers(self, wanted: Sequence[Wanted], interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
        """Ask for the interfaces' drivers where an entry goes by them."""
        if not any(want.config.match.driver for want in wanted):
            return interfaces
        return tuple(replace(interface, driver=self._rtnl.driver(interface.name)) for interface in interfaces)

    async def _chains(self, occupants: Sequence[Occupant]) -> dict[TcxHook, tuple[tuple[ProgId, str], ...]]:
        linked = (o.place for o in occupants if o.place.kind is AttachKind.LINK and o.place.hook is not Hook.XDP)
        hooks = dict.fromkeys((place.ifindex, place.hook) for place in linked)
        loop = asyncio.get_running_loop()
        return {(i, h): await loop.run_in_executor(self._worker, self._programs.chain, i, h) for i, h in hooks}

    def _with_foreign_names(self, wanted: Sequence[Wanted], seen: Observed) -> Observed:
        """Name the programs of others that are in the way of an entry: whoever is refused wants to know by what."""
        present = (want.config for want in wanted if not want.missing)
        interfaces = ((config, seen.interface(config.interface)) for config in present)
        met = {seen.in_the_way(wanted_place(config, found)) for config, found in interfaces if found is not None}
        infos: dict[ProgId, ProgInfo | None] = {
            occupant.prog_id: self._programs.info_of(occupant.prog_id)
            for occupant in met
            if occupant is not None and occupant.prog_id is not None and seen.owner_of(occupant) is None
        }
        named = (_named(o, infos.get(o.prog_id)) if o.prog_id else o for o in seen.occupants)
        return replace(seen, occupants=tuple(named)) if infos else seen

    async def _without_gone(self, seen: Observed) -> Observed:
        """Leave out interfaces that went while they were looked at: a filter that is missing there was not removed."""
        gone = set()
        by_index = {interface.index: interface for interface in seen.interfaces}
        for owned in seen.owned.values():
            interface = by_index.get(Ifindex(owned.record.ifindex)) if owned.record is not None else None
            missing = interface is not None and seen.was_displaced(owned, interface)
            if interface is not None and missing and await self._rtnl.interface_at(interface.index) is None:
                gone.add(interface.index)
        return replace(
            seen,
            interfaces=tuple(i for i in seen.interfaces if i.index not in gone),
            occupants=tuple(o for o in seen.occupants if o.place.ifindex not in gone),
        )

    async def _without_departed(self, seen: Observed) -> Observed:
        """Note whose interface went: it may be back with its index, and without our program.

        What is seen on it may be from before; that it is there again, with the program, is for the next look to tell.
        """
        departed = self._rtnl.departed()
        there = {i.index for i in seen.interfaces} - departed
        self._whereabouts.keep_clsact_of(there - _without_filters(seen))
        gone = [owned for owned in seen.owned.values() if _went(owned, there, any_may=RESYNC in departed)]
        if not gone:
            return seen
        noted = await asyncio.get_running_loop().run_in_executor(self._worker, self._whereabouts.went, gone)
        missing = {one.name: one for one in noted if not seen.places_of(one)}
        return replace(seen, owned={**seen.owned, **missing})

    def _with_filters(
        self, wanted: Sequence[Wanted], owned: Sequence[Owned], interfaces: Sequence[Interface]
    ) -> tuple[Interface, ...]:
        """Return the interfaces whose filters matter: those of entries and of records.

        All of them when a tc program is ours and nothing tells where it is: a dump for each interface.
        """
        if any(_is_lost(o) for o in owned):
            return tuple(interfaces)
        names = {w.config.interface for w in wanted if w.config.is_filter}
        records = [o.record for o in owned if o.record is not None and o.record.hook is not Hook.XDP]
        indexes = {index for record in records for index in (record.ifindex, record.left)}
        return tuple(i for i in interfaces if i.index in indexes or names.intersection((i.name, *i.altnames)))


def _with_features(wanted: Sequence[Wanted], interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    """Tell the features of interfaces where an entry has a choice of modes."""
    names = {want.config.interface for want in wanted if want.config.modes}
    if not names:
        return interfaces
    asked = (names.intersection((i.name, *i.altnames)) for i in interfaces)
    pairs = zip(interfaces, asked, strict=True)
    return tuple(replace(i, features=active_features(i.name)) if ask else i for i, ask in pairs)


def _named(occupant: Occupant, info: ProgInfo | None) -> Occupant:
    if info is None:
        return occupant
    return replace(occupant, name=info.name or occupant.name, tag=info.tag)


def _without_filters(seen: Observed) -> frozenset[int]:
    """Return the interfaces that others took the last filter of ours off: with clsact, which may be theirs by now."""
    filters = {o.place.ifindex for o in seen.occupants if o.place.hook is not Hook.XDP and seen.owner_of(o) is not None}
    interfaces = {interface.index: interface for interface in seen.interfaces}
    records = ((owned, owned.record) for owned in seen.owned.values() if owned.record is not None)
    tc = ((owned, interfaces.get(Ifindex(record.ifindex))) for owned, record in records if record.hook is not Hook.XDP)
    taken = (found.index for owned, found in tc if found is not None and seen.was_displaced(owned, found))
    return frozenset(taken) - filters


def _went(owned: Owned, there: AbstractSet[int], *, any_may: bool) -> bool:
    """Whether the interface that a program was attached to last went, or may have."""
    record = owned.record
    known = record is not None and record.ifindex and not record.away
    return bool(known) and record is not None and (record.ifindex not in there or any_may)


def _is_lost(owned: Owned) -> bool:
    """Whether nothing tells where a tc program of ours is."""
    known = owned.staged is None and owned.record is not None
    return not known and any(p is not None and p.type == ProgType.SCHED_CLS for p in (owned.prog, owned.staged))

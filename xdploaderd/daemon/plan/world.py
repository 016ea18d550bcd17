"""What the planner compares: the wish with the object's digest, the hooks as observed, and what is pinned as ours.

All of it is read anew on each pass; the kernel and the pins are the truth, a `Record` only remembers what they cannot
tell (which file a program came from).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.plan.status import Origin
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import ETH_P_ALL, AttachKind, Hook, XdpMode
from xdploaderd.info import Interface, LinkInfo, ProgInfo, TcFilter
from xdploaderd.uapi.bpf import Ifindex, ProgId

K = TypeVar("K")
V = TypeVar("V")

_NUMBERS = frozenset(
    {"ifindex", "priority", "handle", "left", "loaded", "away"}
)  # fields of a record that are no texts
XDP_CONFLICTS = frozenset({XdpMode.NATIVE, XdpMode.SKB})  # the kernel lets one of these two be active at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What holds of single attachments of an entry for several interfaces: `exhausted` are not restored now.

    `done` were attached since the entry was asked for as a whole, `asked` were asked for by name.
    """

    held: frozenset[str] = frozenset()
    retake: frozenset[str] = frozenset()
    exhausted: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One wanted attachment; `sha1` is its object file's, '' where `problem` says why it could not be read.

    `retake`: it was asked for, so what others did to it before does not count; `asked`: by name, not by a reload of
    all. `may_restore`: what they do to it may be undone now. `missing`: why there is no interface for it.
    daemon.matching makes one of these for each interface of an entry for several, whose name has an `@` then; `marks`
    are for that.
    """

    config: AttachmentConfig
    sha1: str = ""
    held: bool = False
    origin: Origin = Origin.CONFIGURED
    retake: bool = False
    asked: bool = False
    may_restore: bool = False
    missing: str = ""
    marks: Marks = Marks()
    problem: LoaderError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spot that takes one program: an interface's XDP slot of one mode, a tc filter's priority and handle, or a link.

    Two places with one priority and handle are the same filter, whatever its protocol and class id. `slot` is the entry
    that a link is pinned for; a TCX hook has room for any number. Not `counts`: a filter whose program decides nothing,
    without direct-action or for hardware alone. `order` is where among the links a new one is put,
    `rungs` the modes that will do, best first, and `conditions` what may make a driver refuse one.
    """

    ifindex: Ifindex
    ifname: str
    hook: Hook
    mode: XdpMode = XdpMode.UNSPECIFIED
    priority: int = 0
    handle: int = 0
    protocol: int = ETH_P_ALL
    classid: int = 0
    kind: AttachKind = AttachKind.NETLINK
    slot: str = ""
    counts: bool = True
    order: str = field(default="", compare=False)
    rungs: tuple[XdpMode, ...] = field(default=(), compare=False)
    conditions: str = field(default="", compare=False)

    def conflicts_with(self, other: "Place") -> bool:
        """Return whether the kernel would refuse a program here because there is one at `other`."""
        if (self.ifindex, self.hook) != (other.ifindex, other.hook):
            return False
        if self.hook is not Hook.XDP and AttachKind.LINK in (self.kind, other.kind):
            return (self.kind, self.slot) == (other.kind, other.slot)
        if self.hook is not Hook.XDP:
            return (self.priority, self.handle) == (other.priority, other.handle)
        modes = {self.mode, other.mode}
        return self.mode is other.mode or XdpMode.UNSPECIFIED in modes or modes == XDP_CONFLICTS

    def __str__(self) -> str:
        by_link = ["by link"] if self.kind is AttachKind.LINK else []
        mode = [] if self.mode is XdpMode.UNSPECIFIED else [self.mode.value]
        if self.hook is Hook.XDP or by_link:
            how = ", ".join([*mode, *by_link])
            return f"{self.hook} of '{self.ifname}'" + (f" ({how})" if how else "")
        return f"{self.hook} of '{self.ifname}' (priority {self.priority}, handle {self.handle:#x})"


@dataclass(frozen=True, slots=True)
class Occupant:
    """A program at a place; `prog_id` None for a tc filter of classic BPF. `filter` is the filter as it was read."""

    place: Place
    prog_id: ProgId | None
    name: str = ""
    tag: str = ""
    filter: TcFilter | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the daemon remembers of a program it loaded, for each entry that has it.

    `ifindex` is where it was attached last, 0 once the daemon itself took it off: a program that is not there any more
    was taken off by somebody else. `left`: where it was then, and still is when that failed or was cut short; or where
    a filter was about to be attached. `away`: 1 once the interface itself went; should it come back with that index,
    nobody took the program off.
    `refused`: why it is not in the best mode, `tried`: the conditions at that time. `label`, `tag` and `loaded` are the
    kernel's name, tag and time of load (ns since boot) of it, '' and 0 where an older daemon loaded it. `arrays`: the
    names of the program arrays that are pinned beside it, with commas. `pinned`: the ids of its pinned maps by their
    paths, as JSON. `order`: where among the programs of a TCX hook it was put, '' from its being taken off on.
    """

    attachment: str
    object: str
    sha1: str
    program: str
    hook: Hook
    dialect: str = ""
    why: str = ""
    interface: str = ""
    ifindex: int = 0
    overrides: str = ""
    maps: str = ""
    priority: int = 0
    handle: int = 0
    refused: str = ""
    tried: str = ""
    left: int = 0
    away: int = 0
    order: str = ""
    label: str = ""
    tag: str = ""
    loaded: int = 0
    arrays: str = ""
    pinned: str = ""

    def is_at(self, place: Place) -> bool:
        """Return whether the place is the one that the program was attached to for this entry."""
        numbers = (self.priority, self.handle) == (place.priority, place.handle) or self.hook is Hook.XDP
        return (self.ifindex, self.hook) == (place.ifindex, place.hook) and numbers

    def has_left(self, place: Place) -> bool:
        """Return whether the daemon itself took the program off there: it runs there still if that was cut short."""
        return self.left != 0 and replace(self, ifindex=self.left).is_at(place)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values: of every program at each change, so asdict's copies are too slow."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the record of `to_json`; raise ValueError, TypeError or KeyError for anything else."""
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        values = {name: value[name] for name in cls.__slots__ if name in value or name in needed}
        if not all(isinstance(v, int if name in _NUMBERS else str) for name, v in values.items()):
            raise TypeError("a record holds texts and a few numbers")
        return cls(**{**values, "hook": Hook(values["hook"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What is pinned below ROOT/xdploaderd/NAME: the program in force, and one left staged by a change cut short.

    `leftovers`: there are program arrays besides, of neither of the two, or dead links. `emptied`: the pin of a program
    array was removed, and so the kernel emptied that. Not `pinned`: the pin of the program itself was removed from the
    path `pin`; it runs on where it was attached, and is `sure` to be that one where the kernel let us look.
    """

    name: str
    prog: ProgInfo | None
    staged: ProgInfo | None = None
    leftovers: bool = False
    pins: tuple[str, ...] = ()
    record: Record | None = None
    staged_record: Record | None = None
    links: tuple[LinkInfo, ...] = ()
    emptied: bool = False
    pinned: bool = True
    sure: bool = True
    pin: str = ""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One snapshot of the interfaces, of the programs on their hooks, and of what is ours.

    `chains`: ids and names of all programs of the TCX hooks that ours are on, in the order they run.

    Without slots, because the indexes below are kept once made: plans and reports look up every entry.
    """

    interfaces: tuple[Interface, ...] = ()
    occupants: tuple[Occupant, ...] = ()
    owned: Mapping[str, Owned] = field(default_factory=dict)
    chains: Mapping[tuple[Ifindex, Hook], tuple[tuple[ProgId, str], ...]] = field(default_factory=dict)

    @cached_property
    def _by_name(self) -> Mapping[str, Interface]:
        by_altname = {name: interface for interface in self.interfaces for name in interface.altnames}
        return {**by_altname, **{interface.name: interface for interface in self.interfaces}}

    @cached_property
    def _by_prog(self) -> Mapping[ProgId | None, tuple[Place, ...]]:
        return _grouped((occupant.prog_id, occupant.place) for occupant in self.occupants)

    @cached_property
    def _by_hook(self) -> Mapping[tuple[Ifindex, Hook], tuple[Occupant, ...]]:
        return _grouped(((occupant.place.ifindex, occupant.place.hook), occupant) for occupant in self.occupants)

    @cached_property
    def _owners(self) -> Mapping[ProgId, tuple[Owned, ...]]:
        return _grouped((owned.prog.id, owned) for owned in self.owned.values() if owned.prog is not None)

    @cached_property
    def _users(self) -> Mapping[ProgId, tuple[tuple[str, Record | None], ...]]:
        """Every entry that has a program pinned, in force or staged: one with `maps: shared` has many."""
        pairs = [(o.prog, o.name, o.record) for o in self.owned.values()]
        pairs += [(o.staged, o.name, o.staged_record) for o in self.owned.values()]
        return _grouped((prog.id, (name, record)) for prog, name, record in pairs if prog is not None)

    def interface(self, name: str) -> Interface | None:
        """Return the interface of that name, else the one of that alternative name."""
        return self._by_name.get(name)

    def places_of(self, owned: Owned | None) -> tuple[Place, ...]:
        """Return every place that the entry's program in force is attached at for it."""
        return self._places(owned.name, owned.prog, owned.record) if owned is not None else ()

    def staged_places_of(self, owned: Owned) -> tuple[Place, ...]:
        """Return every place that the entry's staged program is attached at for it."""
        return self._places(owned.name, owned.staged, owned.staged_record)

    def places_left_by(self, owned: Owned) -> tuple[Place, ...]:
        """Return the places of an entry that is gone; of a shared program without a record, those of no other."""
        if owned.record is not None or owned.prog is None:
            return self.places_of(owned)
        return tuple(p for p in self._by_prog.get(owned.prog.id, ()) if not self._is_others(owned.name, owned.prog, p))

    def _places(self, name: str, prog: ProgInfo | None, record: Record | None) -> tuple[Place, ...]:
        """Of a shared program only its record tells which places are this entry's; without one it has none."""
        if prog is None:
            return ()
        everywhere = self._by_prog.get(prog.id, ())
        if all(user == name for user, _ in self._users.get(prog.id, ())):
            return everywhere
        if record is None:
            return ()
        return tuple(
            p for p in everywhere if record.is_at(p) or (record.has_left(p) and not self._is_others(name, prog, p))
        )

    def _is_others(self, name: str, prog: ProgInfo, place: Place) -> bool:
        users = self._users.get(prog.id, ())
        return any(user != name and record is not None and record.is_at(place) for user, record in users)

    def owner_of(self, met: Occupant) -> Owned | None:
        """Return the attachment of ours whose pinned program that is; of a shared one, the one that has it there."""
        owners = self._owners.get(met.prog_id, ()) if met.prog_id is not None else ()
        return next((owned for owned in owners if met.place in self.places_of(owned)), next(iter(owners), None))

    def was_displaced(self, owned: Owned | None, interface: Interface) -> bool:
        """Return whether somebody else took the entry's program off an interface that is still the same one."""
        if owned is None or owned.prog is None or owned.record is None or owned.staged is not None:
            return False
        here = any(place.ifindex == interface.index and place.counts for place in self.places_of(owned))
        return owned.record.ifindex == interface.index and not owned.record.away and not here

    def in_the_way(self, place: Place) -> Occupant | None:
        """Return the program that a new one at `place` would meet, that of the very same place first."""
        there = self._by_hook.get((place.ifindex, place.hook), ())
        meets = sorted((o for o in there if place.conflicts_with(o.place)), key=lambda o: o.place != place)
        return next(iter(meets), None)


def _grouped(items: Iterable[tuple[K, V]]) -> Mapping[K, tuple[V, ...]]:
    groups: dict[K, list[V]] = {}
    for key, value in items:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}


def xdp_occupants(interfaces: tuple[Interface, ...]) -> Iterator[Occupant]:
    """Yield the programs on the XDP slots of the interfaces."""
    for interface in interfaces:
        for mode, prog_id in interface.xdp:
            yield Occupant(Place(ifindex=interface.index, ifname=interface.name, hook=Hook.XDP, mode=mode), prog_id)


def tc_occupant(interface: Interface, item: TcFilter) -> Occupant:
    """Return a bpf filter of the interface as an occupant."""
    place = Place(
        ifindex=interface.index,
        ifname=interface.name,
        hook=item.hook,
        priority=item.priority,
        handle=item.handle,
        protocol=item.protocol,
        classid=item.classid,
        counts=item.decides,
    )
    return Occupant(place, item.prog_id, item.name, item.tag, item)


def overrides_of(config: AttachmentConfig) -> str:
    """Return what the entry sets in its object, as one text: a program loaded with other values is another program."""
    values: list[object] = [config.globals, config.max_entries]
    if config.share or config.no_maps or config.map_init:  # not in older records
        values += [config.share, config.no_maps]
    if config.map_init:
        values.append(config.map_init)
    return json.dumps(values) if any(values) else ""


def wanted_place(config: AttachmentConfig, interface: Interface) -> Place:
    """Return where on the interface the entry wants its program."""
    xdp = config.hook is Hook.XDP
    link = config.attach is AttachKind.LINK
    return Place(
        ifindex=interface.index,
        ifname=interface.name,
        hook=config.hook,
        mode=config.ladder[0] if xdp else XdpMode.UNSPECIFIED,
        priority=0 if xdp else config.priority,
        handle=0 if xdp else config.handle,
        protocol=ETH_P_ALL if xdp else config.protocol,
        classid=0 if xdp else config.classid,
        kind=config.attach,
        slot=config.name if link else "",
        order=config.order,
        rungs=config.modes,
        conditions=f"MTU {interface.mtu}, features {interface.features}" if config.modes else "",
    )

"""A world in memory: interfaces, hooks and own pins that the daemon's actions change as the kernel would."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from xdploaderd.config.attachments import AttachmentConfig, AttachmentName
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Action, Attach, Change, Detach, Repair, Replace, describe
from xdploaderd.daemon.plan.status import PlannedAction
from xdploaderd.daemon.plan.world import Observed, Occupant, Owned, Place, Record, Wanted, overrides_of
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.errors import AttachError, LoaderError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Interface, LinkInfo, ProgInfo
from xdploaderd.uapi.bpf import Ifindex, ProgId, ProgType


def entry(name: str = "edge", interface: str = "eth0", hook: Hook = Hook.XDP, **fields: Any) -> AttachmentConfig:
    """Return a configured attachment; a tc hook gets priority and handle 1."""
    place = {} if hook is Hook.XDP else {"priority": 1, "handle": 1}
    values = {"object": PurePosixPath("/lib/fw.o"), "program": "main", **place, **fields}
    return AttachmentConfig(name=AttachmentName(name), interface=interface, hook=hook, **values)


def want(config: AttachmentConfig | None = None, *, sha1: str = "a" * 40, held: bool = False) -> Wanted:
    """Return a wish for `config`."""
    return Wanted(config=config or entry(), sha1=sha1, held=held)


def prog(number: int, kind: ProgType = ProgType.XDP) -> ProgInfo:
    """Return a program of that id."""
    return ProgInfo(id=ProgId(number), type=kind, name="main", tag="0" * 16)


def read_objects(directory: Path) -> ReadObjects:
    """Return what keeps copies of objects in the directory."""
    copies = KeptObjects(directory / "read-objects", durable=False)
    return ReadObjects(copies, directory / "read", boot_id="boot")


class WithoutClsact:
    """What an executor does where no hook is a filter's."""

    async def tidy(self, _observed: Observed) -> None:
        """There is none to remove."""


class FakeWorld(WithoutClsact):
    """Snapshots and executor in one; `failures` are raised, one for each action, before anything is changed."""

    def __init__(self, *interfaces: str) -> None:
        self.indexes = {name: Ifindex(number) for number, name in enumerate(interfaces, 1)}
        self.hooks: dict[Place, int] = {}
        self.owned: dict[str, Owned] = {}
        self.failures: list[Exception] = []
        self.unreadable: list[LoaderError] = []
        self.done: list[Change] = []
        self.acted = asyncio.Event()
        self.snapshots = 0
        self._next_id = 100

    def place(self, interface: str, hook: Hook = Hook.XDP, mode: XdpMode = XdpMode.NATIVE) -> Place:
        """Return a place on an interface: an XDP slot, or the tc filter 1:1."""
        place = Place(ifindex=self.indexes[interface], ifname=interface, hook=hook)
        return replace(place, mode=mode) if hook is Hook.XDP else replace(place, priority=1, handle=1)

    def add_owned(self, config: AttachmentConfig, number: int, *, sha1: str = "a" * 40) -> Owned:
        """Pin a program as that of the entry."""
        record = Record(
            attachment=config.name,
            object=str(config.object),
            sha1=sha1,
            program=config.program,
            hook=config.hook,
            overrides=overrides_of(config),
        )
        self.owned[config.name] = Owned(name=config.name, prog=prog(number), record=record)
        return self.owned[config.name]

    def observed(self) -> Observed:
        """Return the world as it is."""
        slots = {
            name: [(p.mode, ProgId(i)) for p, i in self.hooks.items() if p.ifname == name] for name in self.indexes
        }
        return Observed(
            interfaces=tuple(Interface(index=i, name=n, xdp=tuple(slots[n])) for n, i in self.indexes.items()),
            occupants=tuple(Occupant(place, ProgId(number)) for place, number in self.hooks.items()),
            owned=dict(self.owned),
        )

    async def snapshot(self, wanted: Sequence[Wanted]) -> Observed:
        """Return the world as it is."""
        self.snapshots += 1
        if self.unreadable:
            raise self.unreadable.pop(0)
        return self.observed()

    async def links_of(self, names: Sequence[str]) -> dict[str, tuple[LinkInfo, ...]]:
        """Return the links as they are."""
        return {name: self.owned[name].links for name in names}

    async def execute(self, action: Change) -> Outcome:
        """Change the world, or raise the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        self.done.append(action)
        self.acted.set()
        match action:
            case Attach() | Replace():
                return self._put(action)
            case Detach():
                self._take_off(action.name, action.places)
                if action.forget:
                    del self.owned[action.name]
            case Repair():
                owned = self.owned[action.name]
                self._take_off(action.name, action.strays)
                self.owned[action.name] = replace(
                    owned,
                    prog=owned.staged if action.promote else owned.prog,
                    staged=None,
                    leftovers=False,
                    pinned=True,
                )
        return Outcome()

    async def carry_out(
        self, actions: Sequence[Change], *, begin: Callable[[], None]
    ) -> tuple[tuple[Change, Outcome], ...]:
        """Change the world by all of these, or raise the next failure and leave it."""
        before = dict(self.hooks), dict(self.owned), list(self.done)
        try:
            begin()
            return tuple([(action, await self.execute(action)) for action in actions])
        except LoaderError:
            self.hooks, self.owned, self.done = before
            raise

    async def foretell(self, actions: Sequence[Action]) -> tuple[PlannedAction, ...]:
        """Tell of the actions as they are; there are no maps."""
        return tuple(map(describe, actions))

    def keep(self) -> None:
        """Stand for the pins of old programs."""

    def programs(self) -> tuple[tuple[str, ProgId], ...]:
        """Tell that nothing was pinned then."""
        return ()

    def restore_maps(self) -> None:
        """Stand for the pins of maps."""

    def drop(self) -> None:
        """Stand for removing them."""

    def lost(self) -> tuple[str, ...]:
        """Tell that no program of others was lost."""
        return ()

    def acknowledge(self) -> None:
        """Stand for no longer telling of that."""

    def _put(self, action: Attach | Replace) -> Outcome:
        place = action.place
        if isinstance(action, Replace):
            if self.hooks.pop(action.current.place, None) != action.current.prog_id:
                raise AttachError("active program does not match expected")
            if not action.gap:
                place = action.current.place
        if place.hook is Hook.XDP and place.mode is XdpMode.UNSPECIFIED:
            place = replace(place, mode=XdpMode.NATIVE)
        if action.from_pin:
            info = self.owned[action.name].prog
            assert info is not None
        else:
            self._next_id += 1
            info = prog(self._next_id)
        self.hooks[place] = info.id
        self._take_off(action.name, action.strays)
        if not action.from_pin and action.promote:
            self.add_owned(action.wanted.config, info.id, sha1=action.wanted.sha1)
        elif not action.from_pin:
            self.owned[action.name] = replace(self.owned[action.name], staged=info)
        return Outcome(info, action.wanted.sha1)

    def _take_off(self, name: str, places: tuple[Place, ...]) -> None:
        for place in places:
            info = self.owned[name].prog
            assert info is not None
            assert self.hooks.pop(place) == info.id


class FakeWishes:
    """Wishes that a test sets."""

    def __init__(self, *wanted: Wanted) -> None:
        self.list = wanted
        self.read_again = 0

    def wanted(self) -> tuple[Wanted, ...]:
        return self.list

    def ended(self) -> frozenset[str]:
        return frozenset()

    def read_failed_again(self) -> None:
        self.read_again += 1

    def restored(self, name: str) -> None:
        self.list = tuple(replace(w, may_restore=False) if w.config.name == name else w for w in self.list)

    def carried_out(self, name: str) -> None:
        self.list = tuple(replace(w, retake=w.retake and w.config.name != name) for w in self.list)

    def passed(self, actions: Sequence[Action], pinned: Iterable[str]) -> None:
        left = {action.name for action in actions}
        self.list = tuple(replace(w, retake=w.retake and w.config.name in left) for w in self.list)

"""The state of the model of G14: what runs where, what is pinned and wanted, and how each entry must stand.

`hooks` are those of the kernel, `own` is what the daemon has pinned. Each step of the world changes `hooks`, each step
of an operator (asking.py) the wishes; settling.py then does what the daemon is to have done when it rests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.campaigns.machine.host import Spot
from tests.campaigns.machine.matching import resolve
from tests.campaigns.machine.things import LADDER, TCX, Entry, Own, Prog, Trial, Wish
from xdploaderd.daemon.plan.status import State
from xdploaderd.hooks import Hook


@dataclass(slots=True)
class Model:
    """All of it; plain values that rules change."""

    interfaces: dict[str, int] = field(default_factory=dict)
    hooks: dict[Spot, Prog] = field(default_factory=dict)
    links: set[Spot] = field(default_factory=set)  # the hooks on which it is a link, always one of ours
    chains: dict[tuple[int, Hook], list[int]] = field(default_factory=dict)  # slots on TCX hooks as they run
    modes: dict[int, str] = field(default_factory=dict)  # of XDP programs, by interface
    refusing: set[int] = field(default_factory=set)  # interfaces whose drivers refuse native mode
    mtus: dict[int, int] = field(default_factory=dict)
    gaps: set[Spot] = field(
        default_factory=set
    )  # where there was a moment without a program, since somebody cleared it
    lent: tuple[Own, ...] = ()  # programs that a change as a whole replaces, and that are shared before
    claimed: set[Spot] = field(default_factory=set)  # that an entry tries to take, and cannot
    files: dict[str, str] = field(default_factory=dict)  # contents now
    disk: dict[str, Entry] = field(default_factory=dict)  # the configuration as it is written
    force: dict[str, Entry] = field(default_factory=dict)  # the configuration in force
    runtime: dict[str, Entry] = field(default_factory=dict)  # entries that came through the API
    digests: dict[str, str] = field(default_factory=dict)  # by entry: contents as they were read
    own: dict[str, Own] = field(default_factory=dict)
    unpinned: dict[str, Own] = field(default_factory=dict)  # somebody removed the pins since the daemon looked
    held: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)  # attachments wanted again since others took them off
    urged: set[str] = field(default_factory=set)  # of these, those asked for by name
    ended: set[str] = field(default_factory=set)  # entries that went by request since the daemon started
    orphans: dict[str, float] = field(default_factory=dict)  # since when
    states: dict[str, State] = field(default_factory=dict)
    restored: dict[str, list[float]] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)  # failed, and it is not time to try again
    trial: Trial | None = None
    rejected: tuple[object, ...] | None = None  # what the files said that were rolled back
    config_error: bool = False
    changes: int = 0  # of hooks and pins that the daemon made
    now: float = 0.0

    @property
    def said(self) -> tuple[object, ...]:
        """What the files say: the entries, and the contents of their objects."""
        return tuple((entry, self.files[entry.file]) for entry in self.disk.values())

    @property
    def entries(self) -> dict[str, Entry]:
        """All entries, those of the configuration first."""
        return {**self.force, **self.runtime}

    @property
    def degraded(self) -> bool:
        """Whether anything is not as wanted."""
        unlike = any(state in (State.FAILED, State.FOREIGN, State.WAITING) for state in self.states.values())
        return unlike or self.config_error

    def wishes(self) -> list[Wish]:
        """Return the attachments of all entries on the interfaces there are."""
        return list(resolve(self.entries, self.interfaces))

    def spot(self, wish: Wish) -> Spot:
        """Return where the attachment is wanted."""
        slot = TCX[wish.name] if wish.entry.slot < 0 else wish.entry.slot
        return Spot(self.interfaces[wish.interface], wish.entry.hook, slot)

    def is_held(self, wish: Wish) -> bool:
        return wish.name in self.held or wish.entry.name in self.held

    def spots_of(self, name: str) -> list[Spot]:
        """Return where the program of an attachment runs for it: one that others share is theirs elsewhere."""
        own = self.own.get(name)
        everywhere = [spot for spot, prog in self.hooks.items() if own is not None and prog is own.prog]
        if own is None or not self.sharers(name):
            return everywhere
        known = [spot for spot in everywhere if own.prog.key is not None and spot.slot == own.slot]
        return [
            spot for spot in known if spot.ifindex == own.on or (spot.ifindex == own.left and self._is_free(name, spot))
        ]

    def left_by(self, name: str) -> list[Spot]:
        """Return what goes when the attachment does; without a record, what is not known to be another's."""
        own = self.own[name]
        if own.prog.key is not None:
            return self.spots_of(name)
        return [spot for spot, prog in self.hooks.items() if prog is own.prog and self._is_free(name, spot)]

    def sharers(self, name: str) -> list[Own]:
        """Return what others have pinned of the same program."""
        return [own for other, own in self.own.items() if other != name and own.prog is self.own[name].prog]

    def _is_free(self, name: str, spot: Spot) -> bool:
        return all((own.on, own.slot) != (spot.ifindex, spot.slot) for own in self.sharers(name) if own.prog.key)

    def is_ours(self, prog: Prog) -> bool:
        return any(own.prog is prog for own in self.own.values())

    def needs_gap(self, wish: Wish) -> bool:
        """Whether a program is there by another kind of attachment, or mode, which cannot be changed in place."""
        return self.would_leave_gap(wish) and not wish.entry.gap

    def would_leave_gap(self, wish: Wish) -> bool:
        """Whether what is there has to be taken off first."""
        spot = self.spot(wish)
        alike = spot.hook is not Hook.XDP or wish.entry.mode in ("", LADDER, self.modes.get(spot.ifindex))
        return spot in self.hooks and not (alike and (spot in self.links) is wish.entry.link)

    def clear(self, *spots: Spot) -> None:
        """Take what is there off these hooks."""
        self.hooks = {spot: prog for spot, prog in self.hooks.items() if spot not in spots}
        self.links -= set(spots)
        for spot in spots:
            if spot.hook is Hook.XDP:
                self.modes.pop(spot.ifindex, None)
            self.chains[spot[:2]] = [slot for slot in self.chains.get(spot[:2], ()) if slot != spot.slot]

    def rename(self, names: Mapping[str, str]) -> None:
        """Let what is pinned under these names have others, all at once, and so its places on TCX hooks."""
        slots = {TCX[name]: TCX[new] for name, new in names.items()}
        moved = {
            spot: spot._replace(slot=slots.get(spot.slot, spot.slot)) for name in names for spot in self.spots_of(name)
        }
        self.hooks = {moved.get(spot, spot): prog for spot, prog in self.hooks.items()}
        self.links = {moved.get(spot, spot) for spot in self.links}
        for hook, chain in self.chains.items():
            self.chains[hook] = [moved.get(spot, spot).slot for spot in (Spot(*hook, slot) for slot in chain)]
        self.own |= {names[name]: own for name, own in [(name, self.own.pop(name)) for name in names]}
        if self.trial is not None:
            self.trial = self.trial.renamed(names)

    def linked(self) -> list[str]:
        """Return the attachments whose programs run by links; of a shared one without its record nothing tells that."""
        return sorted(name for name in self.own if self.links.intersection(self.spots_of(name)))

    def was_taken(self, wish: Wish) -> bool:
        """Whether others took the program off an interface that is still the same one."""
        own = self.own.get(wish.name)
        if own is None or own.yielded or wish.name in self.asked or not wish.interface:
            return False
        index = self.interfaces[wish.interface]
        return own.on == index and not any(spot.ifindex == index for spot in self.spots_of(wish.name))

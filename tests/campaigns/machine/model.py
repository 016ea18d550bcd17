"""What must run where, and how each entry must stand, as the manual pages say it: the model of G14.

`hooks` are those of the kernel, `own` is what the daemon has pinned. Each step of the world changes `hooks`, each step
of an operator the wishes; `settle` then does what the daemon is to have done when it rests.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from tests.campaigns.machine.host import Spot
from xdploaderd.daemon.status import State
from xdploaderd.hooks import Hook, OnForeign

GRACE = 60.0
RESTORES, MINUTE = 3, 60.0
FARTHEST = (State.FAILED, State.FOREIGN, State.WAITING, State.DETACHED, State.ATTACHED, State.IDLE)
BAD, MISSING = "bad", ""  # contents of an object file that cannot be loaded


class Key(NamedTuple):
    """What a program was loaded from: two loads of one key do the same."""

    content: str
    hook: Hook


@dataclass(eq=False, slots=True)
class Prog:
    """One loaded program, ours or (without a key) somebody else's; `id` as it was seen first."""

    key: Key | None = None
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the configuration; `where` is the name of an interface, or a glob for several."""

    name: str
    where: str
    spot: tuple[Hook, int]
    file: str
    on_foreign: OnForeign = OnForeign.REPORT
    force: bool = False

    @property
    def glob(self) -> bool:
        return "*" in self.where or "[" in self.where

    @property
    def hook(self) -> Hook:
        return self.spot[0]

    @property
    def priority(self) -> int:
        return self.spot[1]


@dataclass(slots=True)
class Own:
    """What is pinned as an attachment's: its program, and the interface it was attached to by us last (0: none).

    `yielded`: another program of ours has its place since.
    """

    prog: Prog
    hook: Hook
    on: int
    yielded: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """One attachment that is wanted; `interface` '' where none is there."""

    name: str
    entry: Entry
    interface: str
    rivals: bool = False


@dataclass(slots=True)
class Model:
    """All of it; plain values that rules change."""

    interfaces: dict[str, int] = field(default_factory=dict)
    hooks: dict[Spot, Prog] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # contents now
    disk: dict[str, Entry] = field(default_factory=dict)  # the configuration as it is written
    force: dict[str, Entry] = field(default_factory=dict)  # the configuration in force
    runtime: dict[str, Entry] = field(default_factory=dict)  # entries that came through the API
    digests: dict[str, str] = field(default_factory=dict)  # by entry: contents as they were read
    own: dict[str, Own] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)  # attachments wanted again since others took them off
    ended: set[str] = field(default_factory=set)  # entries that went by request since the daemon started
    orphans: dict[str, float] = field(default_factory=dict)  # since when
    states: dict[str, State] = field(default_factory=dict)
    restored: dict[str, list[float]] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)  # failed, and it is not time to try again
    config_error: bool = False
    changes: int = 0  # of hooks and pins that the daemon made
    now: float = 0.0

    # What is wanted

    @property
    def entries(self) -> dict[str, Entry]:
        """All entries, those of the configuration first."""
        return {**self.force, **self.runtime}

    def wishes(self) -> list[Wish]:
        """Return the attachments of all entries on the interfaces there are: the exact name beats the glob."""
        return list(self.resolve(self.entries))

    def resolve(self, entries: dict[str, Entry]) -> Iterator[Wish]:
        """Yield the attachments of these entries."""
        fits = [wish for entry in entries.values() for wish in self._fits(entry)]
        for wish in fits:
            rivals = [w for w in fits if wish.interface and w.interface == wish.interface and _meets(w, wish)]
            exact = [w for w in rivals if not w.entry.glob]
            if exact and wish not in exact:
                continue
            yield Wish(wish.name, wish.entry, wish.interface, rivals=not exact and len(rivals) > 1)
        taken = {wish.entry.name for wish in fits if not self._gives_way(wish, fits)}
        for entry in entries.values():
            if entry.glob and entry.name not in taken:
                yield Wish(entry.name, entry, "")

    def _gives_way(self, wish: Wish, fits: list[Wish]) -> bool:
        same = [w for w in fits if w.interface == wish.interface and w.interface and _meets(w, wish)]
        return wish.entry.glob and any(not w.entry.glob for w in same)

    def _fits(self, entry: Entry) -> Iterator[Wish]:
        if not entry.glob:
            yield Wish(entry.name, entry, entry.where if entry.where in self.interfaces else "")
            return
        for name in sorted(self.interfaces, key=lambda each: self.interfaces[each]):
            if fnmatchcase(name, entry.where):
                yield Wish(f"{entry.name}@{name}", entry, name)

    def spot(self, wish: Wish) -> Spot:
        """Return where the attachment is wanted."""
        return Spot(self.interfaces[wish.interface], *wish.entry.spot)

    def is_held(self, wish: Wish) -> bool:
        return wish.name in self.held or wish.entry.name in self.held

    # What is there

    def spots_of(self, name: str) -> list[Spot]:
        """Return where the program of an attachment runs."""
        own = self.own.get(name)
        return [spot for spot, prog in self.hooks.items() if own is not None and prog is own.prog]

    def is_ours(self, prog: Prog) -> bool:
        return any(own.prog is prog for own in self.own.values())

    def was_taken(self, wish: Wish) -> bool:
        """Whether others took the program off an interface that is still the same one."""
        own = self.own.get(wish.name)
        if own is None or own.yielded or wish.name in self.asked or not wish.interface:
            return False
        index = self.interfaces[wish.interface]
        return own.on == index and not any(spot.ifindex == index for spot in self.spots_of(wish.name))

    # What the daemon does

    def settle(self) -> None:
        """Do what is to be done until nothing is."""
        for _ in range(4):
            before = self._picture()
            self._pass()
            if self._picture() == before:
                return
            self.changes += 1
        raise AssertionError("the model does not come to rest")

    def _picture(self) -> tuple[object, ...]:
        """Return what writes to the kernel change, as far as the model has it."""
        pins = sorted((name, id(own.prog)) for name, own in self.own.items())
        return tuple(sorted((spot, id(prog)) for spot, prog in self.hooks.items())), tuple(pins)

    def _pass(self) -> None:
        for entry in self.entries.values():  # an object that could not be read is looked for again
            if self.digests[entry.name] == MISSING:
                self.digests[entry.name] = self.files[entry.file]
        wishes = self.wishes()
        self._follow(wishes)
        taken = {wish.name for wish in wishes if self.was_taken(wish)}
        self.states = {}
        for wish in wishes:
            self.states[wish.name] = self._carry_out(wish, taken=wish.name in taken)
        kept = self._claimed(wishes)
        self.stuck &= {name for name, state in self.states.items() if state is State.FAILED}
        names = {wish.name for wish in wishes if wish.interface or not wish.entry.glob}
        self._sweep(names | kept, several={wish.entry.name for wish in wishes if wish.entry.glob})
        self.asked &= {name for name, state in self.states.items() if state not in (State.ATTACHED, State.DETACHED)}

    def _follow(self, wishes: list[Wish]) -> None:
        """A renamed interface within the glob keeps its program, which is called after the new name."""
        names = {wish.name for wish in wishes if wish.interface}
        for wish in wishes:
            if (
                not wish.interface
                or wish.rivals
                or self.spots_of(wish.name)
                or self.digests[wish.entry.name] == MISSING
            ):
                continue
            for name, own in list(self.own.items()):
                same = name.partition("@")[0] == wish.entry.name and own.hook is wish.entry.hook
                if same and name not in names and own.on == self.interfaces[wish.interface]:
                    self.own[wish.name] = self.own.pop(name)
                    break

    def _carry_out(self, wish: Wish, *, taken: bool) -> State:
        if self.is_held(wish):
            self._forget(wish.name)
            return State.DETACHED
        if wish.rivals or self.digests[wish.entry.name] == MISSING:
            return State.FAILED
        if not wish.interface:
            return self._without_interface(wish)
        if taken:
            return self._displaced(wish)
        there = self.hooks.get(self.spot(wish))
        if there is None or self.is_ours(there) or wish.entry.force:
            return self._put(wish)
        return State.FOREIGN

    def _without_interface(self, wish: Wish) -> State:
        """What runs elsewhere is taken off, and stays pinned for the interface to come."""
        if wish.entry.glob:
            return State.IDLE
        if self.spots_of(wish.name):
            self._take_off(wish.name)
            self.own[wish.name].on = 0
        return State.WAITING

    def _displaced(self, wish: Wish) -> State:
        policy = wish.entry.on_foreign
        recent = [at for at in self.restored.get(wish.name, ()) if self.now - at < MINUTE]
        if policy is OnForeign.RESTORE and wish.name not in self.given_up and len(recent) < RESTORES:
            state = self._put(wish)
            if state is State.ATTACHED:
                self.restored[wish.name] = [*recent, self.now]
            return state
        if policy is OnForeign.RESTORE:
            self.given_up.add(wish.name)
        return State.DETACHED if policy is OnForeign.YIELD else State.FOREIGN

    def _put(self, wish: Wish) -> State:
        """Have the attachment's program at its spot and nowhere else, loaded before unless it is another one now."""
        own, spot = self.own.get(wish.name), self.spot(wish)
        content = self.digests[wish.entry.name]
        if own is None or own.prog.key != Key(content, wish.entry.hook):
            if wish.name in self.stuck:
                return State.FAILED
            content = self.files[wish.entry.file]
            if content in (BAD, MISSING):
                return State.FAILED
            if own is not None:
                self._take_off(wish.name)
            own = self.own[wish.name] = Own(Prog(Key(content, wish.entry.hook)), wish.entry.hook, spot.ifindex)
            self.digests[wish.entry.name] = content
        self._displace(self.hooks.get(spot), by=own)
        self.hooks = {s: p for s, p in self.hooks.items() if p is not own.prog or s == spot} | {spot: own.prog}
        own.on, own.yielded = spot.ifindex, False
        return State.ATTACHED

    def _displace(self, prog: Prog | None, *, by: Own) -> None:
        """What we ourselves put in the place of a program of ours was not put there by others."""
        for own in self.own.values():
            if own is not by and own.prog is prog:
                own.yielded = True

    def _take_off(self, name: str) -> None:
        own = self.own[name]
        self.hooks = {spot: prog for spot, prog in self.hooks.items() if prog is not own.prog}

    def _forget(self, name: str) -> None:
        if name in self.own:
            self._take_off(name)
            del self.own[name]

    def _claimed(self, wishes: list[Wish]) -> set[str]:
        """Return whose program stays, unwanted, until the entry that wants its place can be carried out."""
        failed = [w for w in wishes if self.states[w.name] is State.FAILED and w.interface]
        refused = [w for w in failed if w.rivals or self.digests[w.entry.name] == MISSING]
        tried = {self.hooks.get(self.spot(wish)) for wish in failed if wish not in refused}
        awaited = {self.hooks.get(self.spot(wish)) for wish in refused}
        return {
            name
            for name, own in self.own.items()
            if own.prog in tried or (own.prog in awaited and name.partition("@")[0] in self.entries)
        }

    def _sweep(self, names: set[str], *, several: set[str]) -> None:
        """What nobody wants goes at once where it ended by request, else after the time of grace."""
        for name in [name for name in self.own if name not in names]:
            entry = name.partition("@")[0]
            here = bool(self.spots_of(name)) or self.own[name].on in self.interfaces.values()
            at_once = {name, entry} & self.ended or (entry in several and here)
            if at_once or self.now - self.orphans.setdefault(name, self.now) >= GRACE:
                self._forget(name)
        self.orphans = {name: since for name, since in self.orphans.items() if name in self.own and name not in names}

    # What operators ask for

    def start(self) -> None:
        """Begin anew with nothing but what is on disk, pinned and attached."""
        self.force, self.runtime = dict(self.disk), self._not_claimed(self.disk)
        self.digests = {name: self.files[entry.file] for name, entry in self.entries.items()}
        self.asked, self.ended, self.orphans = set(), set(), {}
        self.restored, self.given_up, self.stuck, self.config_error = {}, set(), set(), False
        self.settle()

    def reload(self) -> bool:
        """Put the configuration of the files in force, all of it or nothing; return whether that can be done."""
        entries = {**self.disk, **self._not_claimed(self.disk)}
        digests = {name: self.files[entry.file] for name, entry in entries.items()}
        before = {w.name: (w.entry, w.interface, self.digests[w.entry.name]) for w in self.wishes()}
        for wish in self.resolve(entries):
            now = wish.entry, wish.interface, digests[wish.entry.name]
            if before.get(wish.name) != now and self._refuses(wish, digests):
                self.keep_last_good()
                return False
        self.adopt()
        return True

    def keep_last_good(self) -> None:
        """Refuse the configuration of the files."""
        self.config_error = True
        self.settle()

    def adopt(self) -> None:
        """Want what the files say from now on, and all that others took off again."""
        before = set(self.entries)
        self.force, self.runtime, self.config_error = dict(self.disk), self._not_claimed(self.disk), False
        self.ended = (self.ended | before) - set(self.entries)
        self.digests = {name: self.files[entry.file] for name, entry in self.entries.items()}
        self.ask(*self.entries)
        self.settle()

    def _not_claimed(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """Return the runtime entries whose name and place these entries leave to them."""
        taken = {(entry.where, entry.spot) for entry in entries.values()}
        return {n: e for n, e in self.runtime.items() if n not in entries and (e.where, e.spot) not in taken}

    def attach_object(self, entry: Entry) -> bool:
        """Want an entry that no file has; one that cannot be attached is not kept."""
        rivals = [
            e for e in self.entries.values() if e.name != entry.name and (e.where, e.spot) == (entry.where, entry.spot)
        ]
        if entry.name in self.force or rivals or self.files[entry.file] == MISSING:
            return False
        before, digests = dict(self.runtime), dict(self.digests)
        self.runtime[entry.name] = entry
        self.digests[entry.name] = self.files[entry.file]
        self.ended.discard(entry.name)
        self.held.discard(entry.name)
        self.ask(entry.name)
        self.settle()
        if self.states[entry.name] not in (State.FAILED, State.FOREIGN):
            return True
        self.runtime, self.digests = before, digests
        self.ended |= {entry.name} - set(self.entries)
        self.settle()
        return False

    def _refuses(self, wish: Wish, digests: dict[str, str]) -> bool:
        """Whether an attachment that the configuration changes cannot be carried out."""
        if self.is_held(wish):
            return False
        content = digests[wish.entry.name]
        if wish.rivals or content == MISSING:
            return True
        if not wish.interface:
            return False
        there, own = self.hooks.get(self.spot(wish)), self.own.get(wish.name)
        if there is not None and not self.is_ours(there) and not wish.entry.force:
            return True
        return content == BAD and (own is None or own.prog.key != Key(content, wish.entry.hook))

    def refuse_object(self, entry: Entry) -> None:
        """Keep nothing of an entry whose program could not be attached."""
        self.held.discard(entry.name)
        self.ended |= {entry.name} - set(self.entries)
        self.settle()

    def attach(self, name: str) -> bool:
        """End a hold, and want again what others took off; return whether the entry is as wanted then, or waits."""
        entry = name.partition("@")[0]
        if not self._is_known(name) or (entry != name and entry in self.held):
            return False
        self.held = {held for held in self.held if held != name and held.partition("@")[0] != name}
        self.ask(name)
        self.settle()
        return self._worst(name) not in (State.FAILED, State.FOREIGN)

    def detach(self, name: str) -> bool:
        """Take the program off until attach() or reboot."""
        if not self._is_known(name):
            return False
        if name in self.runtime:  # it is forgotten besides
            del self.runtime[name], self.digests[name]
            self.held.discard(name)
            self.ended.add(name)
        else:
            self.held.add(name)
        self.settle()
        return True

    def _is_known(self, name: str) -> bool:
        return name in self.entries or name in self.states

    def _worst(self, name: str) -> State:
        """Return the state farthest from the wish, of an attachment or of all of an entry."""
        found = {state for each, state in self.states.items() if name in (each, each.partition("@")[0])}
        return next(state for state in FARTHEST if state in found)

    def ask(self, *names: str) -> None:
        """Want entries, or single attachments, again whatever others did, and try again what failed."""
        for wish in self.wishes():
            if {wish.name, wish.entry.name} & set(names):
                self.asked.add(wish.name)
                self.restored.pop(wish.name, None)
                self.given_up.discard(wish.name)
                self.stuck.discard(wish.name)

    @property
    def degraded(self) -> bool:
        """Whether anything is not as wanted."""
        unlike = any(state in (State.FAILED, State.FOREIGN, State.WAITING) for state in self.states.values())
        return unlike or self.config_error


def _meets(one: Wish, other: Wish) -> bool:
    return one.entry.spot == other.entry.spot

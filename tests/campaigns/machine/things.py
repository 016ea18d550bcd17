"""The things that the model of G14 is about: programs, entries, what is pinned, what is wanted where."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from xdploaderd.hooks import Hook, OnForeign

_ENTRIES, _INTERFACES = ("one", "two", "three", "four", "five"), ("", "@g0", "@g1", "@g2", "@h0")
TCX = {name: -1 - n for n, name in enumerate(e + i for e in _ENTRIES for i in _INTERFACES)}  # slots by attachment
LADDER = "ladder"  # the mode of an entry that takes native or, where the driver refuses that, skb
INIT = "init.json"  # what maps are filled from
BAD, MISSING = "bad", ""  # contents of an object file that cannot be loaded


class Key(NamedTuple):
    """What a program was loaded from: two loads of one key do the same."""

    content: str
    hook: Hook
    shared: bool = False
    init: bool = False


@dataclass(eq=False, slots=True)
class Store:
    """One map that is pinned nowhere, and what it holds; `id` as it was seen first."""

    value: int = 0
    id: int = 0


@dataclass(eq=False, slots=True)
class Prog:
    """One loaded program, somebody else's where nothing tells what from; `id` as it was seen first."""

    key: Key | None = None
    store: Store = field(default_factory=Store)
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
    link: bool = False
    gap: bool = False
    order: str = ""
    mode: str = ""  # of XDP
    shares: bool = False  # its program with other entries; on a TCX hook, which takes a program once, it does not
    keep: bool = False  # its map when the object changes
    init: bool = False  # its map from a file

    @property
    def slot(self) -> int:
        """Return which of a hook's programs it is: a filter's priority, a number below 0 for TCX, else 0."""
        return TCX[self.name] if self.link and self.hook is not Hook.XDP else self.priority

    @property
    def shared(self) -> bool:
        return self.shares and not (self.link and self.hook is not Hook.XDP)

    @property
    def claim(self) -> tuple[str, Hook, int]:
        """Return what no other entry can have beside it."""
        return self.where, self.hook, self.slot

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

    `left`: the one that we took it off then. `slot`: which of the hook's programs it was. `maps`: its map is pinned
    too; None until somebody looks, where it was taken from one of several that differ. `yielded`: another program of
    ours has its place since. `tried`: interface and MTU with which a better mode was refused. `order`: the one that its
    link was put in.
    """

    prog: Prog
    hook: Hook
    on: int
    left: int = 0
    slot: int = 0
    maps: bool | None = False
    yielded: bool = False
    tried: tuple[int, int] | None = None
    order: str = ""

    def leave(self) -> None:
        """Note that we take it off ourselves."""
        self.on, self.left, self.order = 0, self.on or self.left, ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration that waits to be confirmed: until when, and what was before it."""

    deadline: float
    force: Mapping[str, Entry]
    runtime: Mapping[str, Entry]
    digests: Mapping[str, str]
    programs: Mapping[str, Prog]
    maps: AbstractSet[str] = frozenset()  # whose map is pinned beside the program

    def renamed(self, names: Mapping[str, str]) -> "Trial":
        """Return this with other names, all at once, but for one whose new name keeps a program of its own."""
        moves = {name: new for name, new in names.items() if name in self.programs}
        while taken := {name for name, new in moves.items() if new in self.programs and new not in moves}:
            moves = {name: new for name, new in moves.items() if name not in taken}
        programs = {moves.get(name, name): prog for name, prog in self.programs.items()}
        return replace(self, programs=programs, maps=frozenset(moves.get(name, name) for name in self.maps))


@dataclass(frozen=True, slots=True)
class Wish:
    """One attachment that is wanted; `interface` '' where none is there."""

    name: str
    entry: Entry
    interface: str
    rivals: bool = False

"""The actions a plan consists of, as data; and the words for them."""

from dataclasses import dataclass
from typing import assert_never

from xdploaderd.daemon.plan.status import PlannedAction, State
from xdploaderd.daemon.plan.world import Occupant, Place, Wanted
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import Hook
from xdploaderd.uapi.bpf import ProgId


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Put the program on a free place; `from_pin`: the pinned program is the one.

    Then our program is taken off `strays`, and, with `promote`, the new one takes the old one's pin. `restores`: it
    undoes what somebody else did.
    """

    name: str
    wanted: Wanted
    place: Place
    from_pin: bool
    strays: tuple[Place, ...] = ()
    promote: bool = True
    restores: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Put the program where `current` is; `owner` names our entry it belongs to, None: somebody else's.

    `gap`: the kernel cannot do it in place; `current` is taken off first.
    """

    name: str
    wanted: Wanted
    place: Place
    current: Occupant
    owner: str | None
    from_pin: bool
    gap: bool = False
    strays: tuple[Place, ...] = ()
    promote: bool = True
    restores: bool = False
    reason: str = ""

    @property
    def giver(self) -> str | None:
        """The entry whose program is taken off by this, for good or within the gap.

        It may be wanted again, also where no entry says so now: after a crash the files may say something else.
        """
        return self.owner if self.gap or self.owner != self.name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """Take our program off `places`; `forget`: remove its pins as well."""

    name: str
    places: tuple[Place, ...]
    forget: bool
    hook: Hook
    interface: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """End a change that was cut short.

    `promote`: the staged program is put in force, after the old one was taken off `strays`; else it is dropped.
    Either way the program arrays of other programs go, and dead links. `astray`: places of links that hold our program
    and are pinned for another entry. `runs_at`: all that is missing is the note that the program in force is there;
    `unpinned`: all that is missing is its pin, which somebody removed.
    """

    name: str
    promote: bool
    strays: tuple[Place, ...] = ()
    astray: tuple[Place, ...] = ()
    runs_at: Place | None = None
    unpinned: ProgId | None = None
    hook: Hook
    interface: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """The interface got another name: what is pinned as `name` is that of `wanted` from now on, and runs on.

    `clears`: what is pinned under the new name was left by an interface that is gone, and goes.
    """

    name: str
    wanted: Wanted
    place: Place
    clears: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing can be done before an interface appears."""

    name: str
    wanted: Wanted
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The entry is not carried out; `error` says why."""

    name: str
    wanted: Wanted
    state: State
    error: LoaderError


Action = Attach | Replace | Detach | Repair | Rename | Wait | Refuse
Change = Attach | Replace | Detach | Repair | Rename


def interfaces_of(action: Action) -> frozenset[str]:
    """Return the names of the interfaces whose programs the action changes, as the kernel has them."""
    match action:
        case Attach() | Replace():
            return frozenset(place.ifname for place in (action.place, *action.strays))
        case Detach():
            return frozenset((action.interface, *(place.ifname for place in action.places)))
        case _:
            return frozenset()


def describe(action: Action) -> PlannedAction:
    """Return the action in the words that users see."""
    match action:
        case Attach() | Replace() | Rename() | Wait() | Refuse():
            config = action.wanted.config
            interface, hook = config.interface, config.hook
        case Detach() | Repair():
            interface, hook = action.interface, action.hook
        case _:
            assert_never(action)
    reason = str(action.error) if isinstance(action, Refuse) else action.reason
    verb = type(action).__name__.lower()
    return PlannedAction(action=verb, name=action.name, interface=interface, hook=hook, reason=reason)

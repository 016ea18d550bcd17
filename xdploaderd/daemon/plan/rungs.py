"""The ladder of XDP modes: the best that the driver takes is used, and a better one is tried again when that may help.

A driver refuses native mode for a while only: a large MTU, too few queues, LRO. Trying again means a moment without a
program, since the kernel has no way to ask, so it is done only where `allow_gap` says so: when MTU or features are
others than at the refusal, and when it is asked for by name: a reload that changes nothing leaves no such moment.
"""

from dataclasses import dataclass
from typing import Final

from xdploaderd.daemon.plan.world import Owned, Place, Record, Wanted
from xdploaderd.hooks import Hook, XdpMode

RETRIED: Final = "a better mode of XDP is tried again, and the entry says allow_gap: a moment without a program"


@dataclass(frozen=True, slots=True)
class Put:
    """How a program came to its place: whether clsact was made, why better modes were not taken, seconds of gap.

    `mode` is the one of XDP it was put in. `in_place`: it took the place of another program, and is in the mode that
    this one was in. `gave_way`: what was remembered of others whose place it is.
    """

    made_clsact: bool = False
    refused: str = ""
    gap: float = 0.0
    mode: XdpMode = XdpMode.UNSPECIFIED
    in_place: bool = False
    gave_way: tuple[Record, ...] = ()


def is_due(want: Wanted, owned: Owned, place: Place, found: Place) -> bool:
    """Return whether a better mode than the one the program runs in is to be tried now."""
    if found.mode not in place.rungs[1:] or not want.config.allow_gap or owned.record is None:
        return False
    return want.asked or owned.record.tried != place.conditions


def note_of(want: Wanted, owned: Owned, found: Place) -> str:
    """Return what a user is told of a program that runs in another mode than the best; empty where it does not."""
    ladder = want.config.ladder
    if found.hook is not Hook.XDP or found.mode not in ladder[1:]:
        return ""
    why = owned.record.refused if owned.record is not None else ""
    again = f"tried again when MTU or features change, and by `attach {owned.name}`"
    if not want.config.allow_gap:
        again = "tried again only where the entry says `allow_gap: true`"
    return f"runs in {found.mode} mode, wanted {ladder[0]}{f': {why}' if why else ''}; {again}"

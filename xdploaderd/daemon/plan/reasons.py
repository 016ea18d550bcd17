"""Why a program is replaced, and why an entry is refused: the words and errors that users see."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.plan.world import Occupant, Owned, Place, Wanted, overrides_of
from xdploaderd.errors import AttachError, GapNeededError, HookBusyError, PinError
from xdploaderd.hooks import AttachKind, Hook, MapSharing, OnForeign, protocol_name
from xdploaderd.printable import quoted

MOST_RESTORES: Final = 3
WITHIN_SECONDS: Final = 60.0


def all_of(places: Iterable[Place]) -> str:
    """Return the places as a text."""
    return ", ".join(map(str, places))


def replace_reason(want: Wanted, owner: Owned | None, met: Occupant, *, in_place: bool, from_pin: bool) -> str:
    """Return why the program of `owner` (None: somebody else), met at the place, has to go."""
    if owner is None:
        return "somebody else's program is there, and the entry says force"
    if not in_place:
        what = f"{_what_differs(want.config, met.place)} changes"
        return f"the {what}, and the entry says allow_gap: a moment without a program"
    if owner.name != want.config.name:
        return f"the place was that of attachment '{owner.name}'"
    return _other_filter(want, met) if from_pin else _difference(want, owner)


def _other_filter(want: Wanted, met: Occupant) -> str:
    """Return why a filter is changed although its program stays."""
    if not met.place.counts:
        return "somebody made it a filter whose program decides nothing"
    if want.config.hook is not Hook.XDP and want.config.classid != met.place.classid:
        return "the entry sets another class id"
    return "the wanted program is the pinned one"


def _difference(want: Wanted, owner: Owned) -> str:
    record = owner.record
    if record is None:
        return "it is not known which object the running program came from"
    if owner.emptied:
        return "somebody removed the pin of a program array, and so the kernel emptied it"
    if record.sha1 != want.sha1:
        return "the object file changed"
    if record.overrides != overrides_of(want.config):
        return "the entry sets other values in the object"
    if record.program != want.config.program or record.hook is not want.config.hook:
        return "the entry names another program"
    return "the entry wants its maps " + ("shared" if want.config.maps is MapSharing.SHARED else "for itself alone")


def displaced(config: AttachmentConfig, place: Place, met: Occupant | None, *, is_foreign: bool) -> AttachError:
    """Return what is told of an entry whose program somebody else took off, and what is there now, of whomever."""
    again = f"`attach {config.name}` or a reload takes the hook back"
    if config.on_foreign is OnForeign.RESTORE:
        often = f"{MOST_RESTORES} times within {WITHIN_SECONDS:g} s"
        spent = f"; it was put back {often} and taken off again, and is reported now"
    else:
        spent = ""
    if met is not None and not met.place.counts and not is_foreign:
        text = f"somebody made {met.place} a filter without direct-action, or for hardware alone: our program is in it"
        return AttachError(f"{text}, and decides nothing{spent}; {again}")
    if met is None:
        return AttachError(f"somebody took our program off {place}, where nothing is attached now{spent}; {again}")
    return HookBusyError(
        f"somebody took our program off: {met.place} has {_which(met)} now{spent}; {again}, with `force: true`",
        prog_id=met.prog_id or 0,
        prog_name=met.name,
    )


def unpinned(owned: Owned) -> PinError:
    """Return what is told of an entry whose program runs without its pin, where we may not pin it again."""
    number = owned.prog.id if owned.prog is not None else 0
    return PinError(
        f"somebody removed the pin '{owned.pin}' of our program {number}, which runs; to pin it again takes"
        f" CAP_SYS_ADMIN: `mkdir -pm700 {PurePosixPath(owned.pin).parent}; bpftool prog pin id {number} {owned.pin}`"
    )


def _which(met: Occupant) -> str:
    name = f" {quoted(met.name)}" if met.name else ""
    tag = f", tag {met.tag}" if met.tag else ""
    return f"program {met.prog_id}{name}{tag}" if met.prog_id is not None else f"a classic BPF filter{name}"


def hook_busy(met: Occupant) -> HookBusyError:
    """Return the refusal to touch somebody else's program."""
    return HookBusyError(
        f"{met.place} is taken by {_which(met)}, which is not ours; `force: true` would replace it",
        prog_id=met.prog_id or 0,
        prog_name=met.name,
    )


def gap_needed(config: AttachmentConfig, place: Place, met: Occupant) -> GapNeededError:
    """Return the refusal to change what cannot be changed without a gap."""
    found = met.place
    match _what_differs(config, found):
        case "kind of attachment":
            now, wanted = _by(found), _by(place)
        case "XDP mode":
            now, wanted = f"in mode {found.mode}", f"in mode {place.mode}"
        case _:
            now, wanted = (f"for protocol {protocol_name(number)}" for number in (found.protocol, place.protocol))
    return GapNeededError(
        f"{found} has a program {now}, wanted {wanted}, and the kernel cannot change that in place; `allow_gap: true`"
        " takes it off first, which lets packets pass without a program for some milliseconds"
    )


def _what_differs(config: AttachmentConfig, found: Place) -> str:
    if found.kind is not config.attach:
        return "kind of attachment"
    return "XDP mode" if config.hook is Hook.XDP else "filter's protocol"


def _by(place: Place) -> str:
    return "by link" if place.kind is AttachKind.LINK else "by netlink"

"""Why a program is replaced, and why an entry is refused: the words and errors that users see."""

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.world import Occupant, Owned, Place, Wanted, overrides_of
from xdploaderd.errors import AttachError, HookBusyError
from xdploaderd.hooks import Hook, MapSharing
from xdploaderd.printable import quoted


def replace_reason(want: Wanted, owner: Owned | None, met: Occupant, *, in_place: bool, from_pin: bool) -> str:
    """Return why the program of `owner` (None: somebody else), met at the place, has to go."""
    if owner is None:
        return "somebody else's program is there, and the entry says force"
    if not in_place:
        what = "XDP mode" if want.config.hook is Hook.XDP else "filter's protocol"
        return f"the {what} changes, and the entry says force: a moment without a program"
    if owner.name != want.config.name:
        return f"the place was that of attachment '{owner.name}'"
    if from_pin and want.config.hook is not Hook.XDP and want.config.classid != met.place.classid:
        return "the entry sets another class id"
    if from_pin:
        return "the wanted program is the pinned one"
    return _difference(want, owner)


def _difference(want: Wanted, owner: Owned) -> str:
    record = owner.record
    if record is None:
        return "it is not known which object the running program came from"
    if record.sha1 != want.sha1:
        return "the object file changed"
    if record.overrides != overrides_of(want.config):
        return "the entry sets other values in the object"
    if record.program != want.config.program or record.hook is not want.config.hook:
        return "the entry names another program"
    return "the entry wants its maps " + ("shared" if want.config.maps is MapSharing.SHARED else "for itself alone")


def displaced(config: AttachmentConfig, place: Place, met: Occupant | None) -> AttachError:
    """Return what is told of an entry whose program somebody else took off, and what is there now."""
    again = f"`attach {config.name}` or a reload takes the hook back"
    if met is None:
        return AttachError(f"somebody took our program off {place}, where nothing is attached now; {again}")
    return HookBusyError(
        f"somebody took our program off: {met.place} has {_which(met)} now; {again}, with `force: true`",
        prog_id=met.prog_id or 0,
        prog_name=met.name,
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


def gap_needed(place: Place, met: Occupant) -> AttachError:
    """Return the refusal to change what cannot be changed without a gap."""
    if place.hook is not Hook.XDP:
        return AttachError(
            f"the filter at {met.place} is for protocol {met.place.protocol:#06x}, and the kernel cannot change that to"
            f" {place.protocol:#06x}; `force: true` takes it off first, which lets packets pass without a program for"
            " some milliseconds"
        )
    return AttachError(
        f"a program runs in mode {met.place.mode} on {place.hook} of '{place.ifname}', and the kernel cannot change to"
        f" {place.mode} in place; `force: true` takes it off first, which lets packets pass without a program for some"
        " 10 to 20 ms"
    )

"""From how all stood at the end of a pass to what users are told: pure."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.loop.orphans import protected_interface
from xdploaderd.daemon.loop.reconcile import Picture
from xdploaderd.daemon.pins.link_pins import is_at
from xdploaderd.daemon.plan import rungs, tcx_order
from xdploaderd.daemon.plan.actions import Action, Refuse, Rename, Wait
from xdploaderd.daemon.plan.status import AttachmentStatus, Orphan, Stand, State
from xdploaderd.daemon.plan.world import Observed, Owned, Place, Wanted
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import ETH_P_ALL, AttachKind, Hook, protocol_name
from xdploaderd.printable import quoted

JUST_STARTED = "not looked at yet: the daemon has just started"
_FARTHEST = (State.FAILED, State.FOREIGN, State.WAITING, State.DETACHED, State.ATTACHED, State.IDLE)
AS_WANTED = frozenset({State.ATTACHED, State.DETACHED, State.IDLE})


def attachment_statuses(picture: Picture, entry: str = "") -> tuple[AttachmentStatus, ...]:
    """Return the status of every attachment, in the order of the configuration; with `entry` of its attachments."""
    planned: dict[str, Action] = {}
    for action in picture.actions:
        planned.setdefault(action.wanted.config.name if isinstance(action, Rename) else action.name, action)
    wanted = (want for want in picture.wanted if entry in ("", entry_of(want.config.name)))
    return tuple(_status(want, picture, planned.get(want.config.name)) for want in wanted)


def status_of(picture: Picture, name: str) -> AttachmentStatus | None:
    """Return the status of an attachment, or the summary of an entry for several interfaces; None: no such name."""
    statuses = attachment_statuses(picture, entry_of(name))
    found = next((status for status in statuses if status.name == name), None)
    parts = tuple(status for status in statuses if status.entry == name)
    return found if found is not None or not parts else summary(parts)


def stand_of(picture: Picture, name: str) -> Stand:
    """Return how an attachment stands, or with '' all of them; an empty one where there is none of that name."""
    if not name:
        states = Counter(status.state for status in attachment_statuses(picture))
        return Stand(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    status = status_of(picture, name)
    return _stand(status) if status is not None else Stand()


def stands_of(picture: Picture) -> Mapping[str, Stand]:
    """Return how each attachment stands, by name."""
    return {status.name: _stand(status) for status in attachment_statuses(picture)}


def running_stands(observed: Observed) -> Mapping[str, Stand]:
    """Return how what is ours runs, by name, in the words of stands_of() and whatever is wanted."""
    placed = ((owned, next(iter(observed.places_of(owned)), None)) for owned in observed.owned.values())
    return {owned.name: _running(owned, place) for owned, place in placed if owned.prog is not None and place}


def _running(owned: Owned, place: Place) -> Stand:
    link = next((link.id for link in owned.links if is_at(link, place)), 0)
    prog_id = owned.prog.id if owned.prog is not None else 0
    status = AttachmentStatus(
        name=owned.name,
        interface=place.ifname,
        hook=place.hook,
        object="",
        program="",
        mode=place.mode,
        state=State.ATTACHED,
        order=owned.record.order if owned.record is not None and link else "",
        priority=0 if link else place.priority,
        handle=place.handle,
        protocol=protocol_name(place.protocol) if place.priority and not link else "",
        classid=place.classid,
        prog_id=prog_id,
        actual_mode=place.mode.value if place.hook is Hook.XDP else "",
        link_id=link,
        object_sha1=owned.record.sha1 if owned.record is not None else "",
    )
    return _stand(status)


def _stand(status: AttachmentStatus) -> Stand:
    if not status.prog_id:
        return Stand(str(status.state), status.object_sha1)
    where = ", ".join((status.interface, *_details(status)))
    return Stand(f"{status.state} with program {status.prog_id} ({where})", status.object_sha1)


def _details(status: AttachmentStatus) -> Iterator[str]:
    """Yield all that a change of the place alone may change."""
    if status.actual_mode:
        yield status.actual_mode
    if status.link_id:
        yield f"link {status.link_id}"
        if status.order:
            yield f"order {status.order}"
    if status.priority:
        yield f"priority {status.priority}, handle {status.handle:#x}"
        if status.protocol != protocol_name(ETH_P_ALL):
            yield f"protocol {status.protocol}"
        if status.classid:
            yield f"class {status.classid >> 16:x}:{status.classid & 0xFFFF:x}"


def orphans_of(picture: Picture) -> tuple[Orphan, ...]:
    """Return what is pinned as ours, and left alone although no entry wants it."""
    found = ((picture.observed.owned.get(name), at) for name, at in sorted(picture.orphans.items()))
    return tuple(_orphan(owned, at, picture) for owned, at in found if owned is not None)


def _orphan(owned: Owned, swept_at: float, picture: Picture) -> Orphan:
    prog = owned.prog or owned.staged
    return Orphan(
        name=owned.name,
        prog_id=prog.id if prog else 0,
        prog_name=prog.name if prog else "",
        prog_tag=prog.tag if prog else "",
        places=tuple(str(place) for place in picture.observed.places_left_by(owned)),
        pins=owned.pins,
        swept_at=0 if math.isinf(swept_at) else math.ceil(swept_at),
        reason=_why_it_stays(owned, swept_at, picture),
    )


def _why_it_stays(owned: Owned, swept_at: float, picture: Picture) -> str:
    if not math.isinf(swept_at):
        return ""
    protected = protected_interface(owned, picture.observed, picture.protected)
    return f"interface {quoted(protected)} is protected" if protected else "it gave way to what is on trial"


def summary(parts: Sequence[AttachmentStatus]) -> AttachmentStatus:
    """Return one status for all attachments of an entry: that of the one that is farthest from its wish."""
    worst = min(parts, key=lambda status: _FARTHEST.index(status.state))
    names = ", ".join(status.interface for status in parts)
    return replace(
        worst,
        name=worst.entry,
        interface="",
        ifindex=0,
        prog_id=0,
        prog_name="",
        prog_tag="",
        actual_mode="",
        pins=tuple(pin for status in parts for pin in status.pins),
        reason=f"on {names}" if worst.state is State.ATTACHED else f"{worst.interface}: {worst.reason}",
    )


def find_error(picture: Picture, name: str) -> LoaderError | None:
    """Return why the attachment, or one of the entry's, is not as wanted, where an error is the reason."""
    names = [want.config.name for want in picture.wanted if name in (want.config.name, entry_of(want.config.name))]
    planned = {action.name: action for action in reversed(picture.actions)}
    errors = (_error(picture, each, planned.get(each)) for each in names)
    return next((error for error in errors if error is not None), None)


def _error(picture: Picture, name: str, planned: Action | None) -> LoaderError | None:
    if picture.error is not None:
        return picture.error
    failure = picture.failures.get(name)
    if failure is not None:
        return failure.error
    return planned.error if isinstance(planned, Refuse) else None


def _status(want: Wanted, picture: Picture, planned: Action | None) -> AttachmentStatus:
    error = _error(picture, want.config.name, planned)
    state, reason = _state(want, planned, error) if picture.looked else (State.WAITING, JUST_STARTED)
    config = want.config
    base = AttachmentStatus(
        name=config.name,
        entry=entry_of(config.name),
        interface=config.interface,
        hook=config.hook,
        object=str(config.object),
        program=config.program,
        mode=config.mode,
        modes=config.modes,
        attach=config.attach,
        order=config.order,
        state=state,
        origin=want.origin,
        priority=config.priority if config.is_filter else 0,
        handle=config.handle if config.is_filter else 0,
        protocol=protocol_name(config.protocol) if config.is_filter else "",
        classid=config.classid if config.is_filter else 0,
        reason=reason,
        retry_at=_retry_at(picture, config.name) if state not in AS_WANTED else 0,
        error_code=error.code if error is not None and state not in AS_WANTED else "",
    )
    return _with_running(base, want, picture.observed)


def _state(want: Wanted, planned: Action | None, error: LoaderError | None) -> tuple[State, str]:
    if isinstance(planned, Refuse):
        return planned.state, str(planned.error)
    if error is not None:
        return State.FAILED, str(error)
    if isinstance(planned, Wait):
        return State.IDLE if want.config.several else State.WAITING, planned.reason
    if planned is not None:
        return State.FAILED, f"not done yet: {planned.reason}"
    if want.held:
        return State.DETACHED, f"detached by request until `attach {want.config.name}` or reboot"
    return State.ATTACHED, ""


def _retry_at(picture: Picture, name: str) -> int:
    failure = picture.failures.get(name)
    return math.ceil(failure.not_before) if failure is not None else 0


def _with_running(status: AttachmentStatus, want: Wanted, observed: Observed) -> AttachmentStatus:
    """Add what runs: our program where there is one, wherever the entry's state comes from."""
    owned = observed.owned.get(status.name)
    if owned is None or owned.prog is None:
        return status
    place = _place(status, observed, owned)
    record = owned.record
    status = replace(
        status,
        pins=owned.pins,
        dialect=record.dialect if record else "",
        why=record.why if record else "",
        object_sha1=record.sha1 if record else "",
    )
    if place is None:
        return status
    chain = observed.chains.get((place.ifindex, place.hook), ()) if place.kind is AttachKind.LINK else ()
    return replace(
        status,
        ifindex=place.ifindex,
        prog_id=owned.prog.id,
        prog_name=owned.prog.name,
        prog_tag=owned.prog.tag,
        actual_mode=place.mode.value if place.hook is Hook.XDP else "",
        note=rungs.note_of(want, owned, place) or tcx_order.note_of(want.config.order, chain, owned, observed.owned),
        position=tcx_order.position(chain, owned),
        chain=tuple(f"{number} {name}".rstrip() for number, name in chain),
        link_id=next((link.id for link in owned.links if is_at(link, place)), 0),
    )


def _place(status: AttachmentStatus, observed: Observed, owned: Owned) -> Place | None:
    places = observed.places_of(owned)
    interface = observed.interface(status.interface)
    here = [place for place in places if interface is not None and place.ifindex == interface.index]
    return next(iter((*here, *places)), None)

"""Wanted against observed gives actions: pure.

Rules, in the order they are tried for an entry:

* a change that was cut short is repaired first: the staged program takes over where it runs, else it goes; a program
  that runs without its pin is pinned again;
* `detach NAME`, or an entry that is gone: off the hooks, and only where the program is the one pinned as ours;
* its interface got another name, and the entry is for that one too: the pins get the new name, the program stays;
* no such interface: wait;
* somebody else took our program off, or put another in its place: what the entry says for that case;
* our program is there and is what is wanted: nothing;
* the place is free: attach, from the pin where the pinned program is what is wanted, else from the file;
* a program of ours is there (this entry's old one, or another entry's): replace, with that one expected;
* our own program runs in another XDP mode, by another kind of attachment, or for another protocol: the kernel cannot
  change these in place, so this is refused, or with `allow_gap` taken off and put on, with a moment without a program;
* somebody else's program is there: refused, or with `force` replaced.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.plan import rungs, tcx_order
from xdploaderd.daemon.plan.actions import Action, Attach, Detach, Refuse, Repair, Replace, Wait
from xdploaderd.daemon.plan.reasons import all_of, displaced, gap_needed, hook_busy, replace_reason, unpinned
from xdploaderd.daemon.plan.renames import plan_renames
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.plan.world import Observed, Occupant, Owned, Place, Record, Wanted, overrides_of, wanted_place
from xdploaderd.hooks import Hook, MapSharing, OnForeign
from xdploaderd.info import Interface
from xdploaderd.uapi.bpf import ProgType

RESTORED = "somebody else took our program off, and the entry says to restore it"
GONE = "no entry of that name any more"
NOT_HERE = "the entry is not for this interface any more"


def make_plan(
    wanted: Sequence[Wanted], observed: Observed, spared: AbstractSet[str] = frozenset()
) -> tuple[Action, ...]:
    """Return what has to be done; the order is that of execution. No action: all is as wanted.

    `wanted` was resolved on the interfaces observed. An entry under repair, or renamed, is planned again from the
    snapshot after that. `spared`: what is pinned under these names is left alone, although no entry wants it.
    """
    repairs = (*_unpinned(observed), *_repairs(observed))
    renames = plan_renames(wanted, observed)
    repaired = {repair.name for repair in repairs}
    later = repaired | renames.busy
    entries = (want for want in tcx_order.anchors_first(wanted) if want.config.name not in later)
    actions = [action for want in entries for action in _plan_entry(want, observed)]
    known = (names_of(wanted) | later | spared) - renames.evicted
    bases = {entry_of(want.config.name) for want in wanted}
    gone = [
        _detach(owned, observed, NOT_HERE if entry_of(owned.name) in bases else GONE)
        for owned in observed.owned.values()
        if owned.name not in known
    ]
    claimed = frozenset(action.current.place for action in actions if isinstance(action, Replace))
    claimed |= frozenset(place for want in wanted if want.config.name in repaired for place in _met(want, observed))
    awaited = claimed.union(*(awaited_places(action, observed) for action in actions))
    kept = [_without_claimed(action, claimed) for action in actions]
    kept += [_without_claimed(off, awaited if off.reason == NOT_HERE else claimed) for off in gone]
    return (*repairs, *renames.actions, *(action for action in kept if action is not None))


def names_of(wanted: Sequence[Wanted]) -> frozenset[str]:
    """Return the names under which something may be pinned; an entry for several interfaces has none itself."""
    return frozenset(want.config.name for want in wanted if not want.config.several)


def _unpinned(observed: Observed) -> Iterator[Repair]:
    for owned in observed.owned.values():
        if not owned.pinned and owned.sure and owned.prog is not None:
            yield Repair(
                name=owned.name,
                promote=False,
                unpinned=owned.prog.id,
                hook=_hook_of(owned),
                interface=_interface_of(owned),
                reason=f"program {owned.prog.id} runs, and somebody removed its pin",
            )


def _repairs(observed: Observed) -> Iterator[Repair]:
    for owned in observed.owned.values():
        if not owned.pinned:
            continue
        taken = observed.staged_places_of(owned)
        where = taken or observed.places_of(owned)
        astray = tuple(place for place in where if place.slot not in ("", owned.name))
        if owned.staged is None and not owned.leftovers and not astray:
            continue
        yield Repair(
            name=owned.name,
            promote=bool(taken),
            strays=observed.places_of(owned) if taken else (),
            astray=astray,
            hook=where[0].hook if where else _hook_of(owned),
            interface=where[0].ifname if where else _interface_of(owned),
            reason=_repair_reason(owned, taken=bool(taken)),
        )


def _repair_reason(owned: Owned, *, taken: bool) -> str:
    if owned.staged is None and any(not link.ifindex for link in owned.links):
        return "its link is dead: the interface is gone, or somebody detached the link"
    return f"a change was cut short {'after' if taken else 'before'} the new program was attached"


def _plan_entry(want: Wanted, observed: Observed) -> Iterator[Action]:
    config = want.config
    owned = observed.owned.get(config.name)
    if owned is not None and not owned.pinned:
        yield Refuse(name=config.name, wanted=want, state=State.FOREIGN, error=unpinned(owned))
        return
    if want.held:
        if owned is not None:
            yield _detach(owned, observed, f"detached by request until `attach {config.name}` or reboot")
        return
    if want.problem is not None:
        yield Refuse(name=config.name, wanted=want, state=State.FAILED, error=want.problem)
        return
    interface = None if want.missing else observed.interface(config.interface)
    ours = observed.places_of(owned)
    if interface is None:
        if ours and owned is not None:
            yield replace(_off_strays(owned, ours), reason=NOT_HERE)
        reason = want.missing or f"no interface named '{config.interface}' yet"
        yield Wait(name=config.name, wanted=want, reason=reason)
        return
    if not want.retake and observed.was_displaced(owned, interface):
        yield _plan_displaced(want, observed, interface)
        return
    yield from _plan_place(want, observed, interface, owned, ours)


def _plan_displaced(want: Wanted, observed: Observed, interface: Interface) -> Attach | Replace | Refuse:
    """Decide about an entry whose program somebody else took off; it is still pinned."""
    config = want.config
    place = wanted_place(config, interface)
    met = observed.in_the_way(place)
    if config.on_foreign is OnForeign.RESTORE and want.may_restore:
        fits = _fits(want, observed.owned[config.name])
        if met is not None:
            return _take_over(want, observed, place, met, from_pin=fits, restores=True)
        return Attach(name=config.name, wanted=want, place=place, from_pin=fits, reason=RESTORED, restores=True)
    state = State.DETACHED if config.on_foreign is OnForeign.YIELD else State.FOREIGN
    is_foreign = met is not None and observed.owner_of(met) is None
    error = displaced(config, place, met, is_foreign=is_foreign)
    return Refuse(name=config.name, wanted=want, state=state, error=error)


def _plan_place(
    want: Wanted, observed: Observed, interface: Interface, owned: Owned | None, ours: tuple[Place, ...]
) -> Iterator[Action]:
    place = wanted_place(want.config, interface)
    fits = owned is not None and _fits(want, owned)
    met = observed.in_the_way(place)
    if met is None:
        reason = "nothing is attached there" + (f"; then it goes from {all_of(ours)}" if ours else "")
        yield Attach(name=want.config.name, wanted=want, place=place, from_pin=fits, strays=ours, reason=reason)
        return
    strays = tuple(p for p in ours if p != met.place)
    if met.place in ours and fits and _same_place(place, met.place):
        if strays and owned is not None:
            yield _off_strays(owned, strays)
        elif owned is not None and _is_noted_elsewhere(owned.record, place):
            yield _noted(owned, met.place)
        elif owned is not None and rungs.is_due(want, owned, place, met.place):
            yield _put_anew(want, place, met, rungs.RETRIED)
        elif owned is not None and tcx_order.is_due(want, observed, owned, met.place):
            yield _put_anew(want, place, met, tcx_order.MOVED)
        return
    yield _take_over(want, observed, place, met, from_pin=fits)


def _is_noted_elsewhere(record: Record | None, place: Place) -> bool:
    return record is not None and (record.left != 0 or record.away != 0 or record.ifindex not in (0, place.ifindex))


def _noted(owned: Owned, place: Place) -> Repair:
    """Remember where our program runs: what others do to it there is not to be taken for our own doing."""
    away = owned.record is not None and owned.record.away
    reason = "a change was cut short before it was noted where the program is"
    reason = "its interface went away and is back, with the program on it" if away else reason
    return Repair(name=owned.name, promote=False, runs_at=place, hook=place.hook, interface=place.ifname, reason=reason)


def _put_anew(want: Wanted, place: Place, met: Occupant, reason: str) -> Replace:
    """Attach our own program once more, to a better mode or place, with a moment without it."""
    name = want.config.name
    return Replace(name=name, wanted=want, place=place, current=met, owner=name, from_pin=True, gap=True, reason=reason)


def _take_over(
    want: Wanted, observed: Observed, place: Place, met: Occupant, *, from_pin: bool, restores: bool = False
) -> Replace | Refuse:
    config = want.config
    owner = observed.owner_of(met)
    in_place = _changes_in_place(place, met.place)
    if owner is None and not (config.force or restores):
        return Refuse(name=config.name, wanted=want, state=State.FOREIGN, error=hook_busy(met))
    if not in_place and not (config.allow_gap or restores):
        return Refuse(name=config.name, wanted=want, state=State.FAILED, error=gap_needed(config, place, met))
    own = observed.owned.get(config.name)
    return Replace(
        name=config.name,
        wanted=want,
        place=place,
        current=met,
        owner=owner.name if owner is not None else None,
        from_pin=from_pin,
        gap=not in_place,
        strays=tuple(p for p in observed.places_of(own) if p != met.place),
        reason=RESTORED if restores else replace_reason(want, owner, met, in_place=in_place, from_pin=from_pin),
        restores=restores,
    )


def _fits(want: Wanted, owned: Owned) -> bool:
    """Whether the pinned program is the one wanted: same object, values set in it, program and kind of hook."""
    record = owned.record
    return (
        owned.prog is not None
        and record is not None
        and not owned.emptied
        and (record.sha1, record.program) == (want.sha1, want.config.program)
        and record.hook is want.config.hook
        and record.overrides == overrides_of(want.config)
        and (record.maps == MapSharing.SHARED) is (want.config.maps is MapSharing.SHARED)
    )


def _same_place(wanted: Place, found: Place) -> bool:
    """Whether a program at `found` is where it is wanted; any XDP mode does where none is asked for."""
    if wanted.hook is not Hook.XDP or wanted.kind is not found.kind:
        return wanted == found
    return wanted.mode in (found.mode, wanted.mode.UNSPECIFIED) or found.mode in wanted.rungs


def _changes_in_place(wanted: Place, found: Place) -> bool:
    """Whether one step makes of a program at `found` one at `wanted`; a filter keeps its protocol for life."""
    return wanted.protocol == found.protocol if wanted.hook is not Hook.XDP else _same_place(wanted, found)


def _detach(owned: Owned, observed: Observed, reason: str) -> Detach:
    places = observed.places_left_by(owned)
    hook = places[0].hook if places else _hook_of(owned)
    interface = places[0].ifname if places else _interface_of(owned)
    return Detach(name=owned.name, places=places, forget=True, hook=hook, interface=interface, reason=reason)


def _off_strays(owned: Owned, places: tuple[Place, ...]) -> Detach:
    return Detach(
        name=owned.name,
        places=places,
        forget=False,
        hook=places[0].hook,
        interface=places[0].ifname,
        reason="the entry wants the program elsewhere",
    )


def awaited_places(action: Action, observed: Observed) -> Iterator[Place]:
    """Yield the place that an entry takes over when what keeps it from that has ended."""
    if isinstance(action, Refuse) and action.state is State.FAILED:
        yield from _met(action.wanted, observed)


def _met(want: Wanted, observed: Observed) -> Iterator[Place]:
    """Yield the place of the program that the entry's own would take over."""
    interface = None if want.missing or want.held else observed.interface(want.config.interface)
    met = observed.in_the_way(wanted_place(want.config, interface)) if interface is not None else None
    if met is not None:
        yield met.place


def _without_claimed(action: Action, claimed: frozenset[Place]) -> Action | None:
    """Leave alone, for this pass, the places that another entry is to take over: no moment without a program.

    What is left over, pins and staged programs, is cleared by the pass that follows every change.
    """
    match action:
        case Detach() if claimed.intersection(action.places):
            places = tuple(p for p in action.places if p not in claimed)
            return replace(action, places=places, forget=False) if places else None
        case Attach() | Replace() if claimed.intersection(action.strays):
            return replace(action, strays=tuple(p for p in action.strays if p not in claimed), promote=False)
        case _:
            return action


def _hook_of(owned: Owned) -> Hook:
    if owned.record is not None:
        return owned.record.hook
    prog = owned.prog or owned.staged
    return Hook.TC_INGRESS if prog is not None and prog.type == ProgType.SCHED_CLS else Hook.XDP


def _interface_of(owned: Owned) -> str:
    return owned.record.interface if owned.record is not None else ""

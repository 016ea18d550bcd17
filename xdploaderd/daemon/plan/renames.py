"""Attachments that follow their interfaces to other names: pure.

An attachment of an entry for several interfaces is called after its interface. When that got another name, its pins are
renamed, and the program and its maps run on. Names may have been passed on from one interface to the next, or round:
whoever has a name that another one is to get goes first, and of those in a circle one takes a name of nobody meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from xdploaderd.config.attachments import AttachmentName
from xdploaderd.config.interface_match import entry_of, instance_name
from xdploaderd.daemon.plan.actions import Rename
from xdploaderd.daemon.plan.world import Observed, Owned, Wanted, wanted_place
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface

_NOBODYS = ":"  # begins no interface's name: the kernel takes none with a colon (net/core/dev.c, dev_valid_name)

Key = tuple[str, int, Hook]
Target = tuple[Wanted, Interface]


@dataclass(slots=True)
class Renames:
    """What is to be renamed, in that order.

    `busy`: names that nothing else is planned for before that. `evicted`: of these, the ones whose program has to come
    off an interface that the entry is not for any more, before the name is free.
    """

    actions: list[Rename] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    evicted: set[str] = field(default_factory=set)


def plan_renames(wanted: Sequence[Wanted], observed: Observed) -> Renames:
    """Return who follows an interface to another name; `wanted` was resolved on the interfaces observed."""
    pending = dict(_followers(wanted, observed))
    plan, left = Renames(), set[str]()
    while pending and (progress := _next(pending, observed, left)) is not None:
        target = pending.pop(progress)
        name = target[0].config.name
        met = observed.owned.get(name) if name not in left else None
        if met is None or _is_leftover(met, observed):
            left.add(progress)
            plan.actions.append(_rename(progress, target, clears=met is not None))
            plan.busy |= {progress, name}
        elif _is_evictable(met, target[0], observed):
            plan.busy |= {progress, name}
            plan.evicted.add(name)
    if pending:  # in a circle, all of them
        first = next(iter(pending))
        plan.actions.append(_rename(first, _aside(pending[first], observed), clears=False))
        plan.busy |= pending.keys()
    return plan


def _followers(wanted: Sequence[Wanted], observed: Observed) -> Iterator[tuple[str, Target]]:
    """Yield what is pinned under another name on the very interface where an entry wants it, and that entry."""
    pinned = {_key(owned): owned.name for owned in observed.owned.values() if _is_movable(owned)}
    for want in wanted:
        interface = None if want.missing else observed.interface(want.config.interface)
        if interface is None:
            continue
        met = observed.owned.get(want.config.name)
        if met is not None and (met.record is None or met.record.ifindex == interface.index or met.staged is not None):
            continue
        name = pinned.get((entry_of(want.config.name), interface.index, want.config.hook))
        if name is not None and name != want.config.name:
            yield name, (want, interface)


def _next(pending: Mapping[str, Target], observed: Observed, left: set[str]) -> str | None:
    """Return one whose new name nobody else has to leave first; None: they go round."""
    free = (name for name, (want, _) in pending.items() if want.config.name not in pending or want.config.name in left)
    return next(free, None)


def _is_movable(owned: Owned) -> bool:
    there = owned.pinned or owned.sure  # else it cannot be pinned again first
    return there and owned.record is not None and owned.staged is None and not owned.leftovers


def _key(owned: Owned) -> Key | None:
    record = owned.record
    return (entry_of(owned.name), record.ifindex, record.hook) if record is not None else None


def _is_leftover(owned: Owned, observed: Observed) -> bool:
    """Whether this is only what an interface that is gone has left."""
    return not observed.places_of(owned)


def _is_evictable(owned: Owned, want: Wanted, observed: Observed) -> bool:
    """Whether the program runs on others alone than the interface of that name: it was renamed too."""
    return owned.pinned and all(place.ifname != want.config.interface for place in observed.places_of(owned))


def _rename(name: str, target: Target, *, clears: bool) -> Rename:
    want, interface = target
    place = wanted_place(want.config, interface)
    return Rename(name=name, wanted=want, place=place, clears=clears, reason=f"it is '{want.config.name}' now")


def _aside(target: Target, observed: Observed) -> Target:
    """Return the attachment under a name that no interface can have."""
    want, interface = target
    entry, number = entry_of(want.config.name), 1
    while instance_name(entry, f"{_NOBODYS}{number}") in observed.owned:
        number += 1
    name = AttachmentName(instance_name(entry, f"{_NOBODYS}{number}"))
    return replace(want, config=replace(want.config, name=name)), interface

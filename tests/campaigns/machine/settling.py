"""What the daemon is to have done when it rests, as the manual pages say it: the model of G14 goes there in passes."""

from collections.abc import Set as AbstractSet

from tests.campaigns.machine import chains
from tests.campaigns.machine.chains import anchors_first
from tests.campaigns.machine.host import Spot
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.modes import SKB, best, conditions, is_due, is_refused, is_second_best
from tests.campaigns.machine.stores import can_be_loaded, key_of, lender, lenders, load, needs_load
from tests.campaigns.machine.things import LADDER, MISSING, Key, Own, Prog, Wish
from xdploaderd.daemon.plan.status import State
from xdploaderd.hooks import Hook, OnForeign

GRACE = 60.0  # seconds that orphans are left alone
RESTORES, MINUTE = 3, 60.0


def settle(model: Model, first: AbstractSet[str] = frozenset()) -> None:
    """Do what is to be done until nothing is, for the attachments `first` before the others."""
    for _ in range(4):
        before = _picture(model)
        model.lent = tuple(model.own.values()) if first else ()
        _pass(model, first)
        model.lent, first = (), frozenset()
        if _picture(model) == before:
            done = {name for name, state in model.states.items() if state in (State.ATTACHED, State.DETACHED)}
            model.asked -= done
            model.asked &= model.states.keys()
            model.urged &= model.asked
            return
        model.changes += 1
    raise AssertionError("the model does not come to rest")


def _picture(model: Model) -> tuple[object, ...]:
    """Return what writes to the kernel change, as far as the model has it."""
    pins = sorted((name, id(own.prog)) for name, own in model.own.items())
    hooks = tuple(sorted((spot, id(prog)) for spot, prog in model.hooks.items()))
    return (
        hooks,
        tuple(pins),
        tuple(sorted(model.links)),
        str(sorted(model.chains.items())),
        str(sorted(model.modes.items())),
    )


def _pin_again(model: Model) -> None:
    """What is recorded, runs where it was attached and is for an entry of now is pinned again; else it is nobody's."""
    for name, own in model.unpinned.items():
        known = own.prog.key is not None and name.partition("@")[0] in {*model.entries, *model.ended}
        runs = model.hooks.get(Spot(own.on, own.hook, own.slot)) is own.prog
        if known and runs and name not in model.own:
            model.own[name] = own
    model.unpinned = {}


def _pass(model: Model, first: AbstractSet[str]) -> None:
    _pin_again(model)
    for entry in model.entries.values():  # an object that could not be read is looked for again
        if model.digests[entry.name] == MISSING:
            model.digests[entry.name] = model.files[entry.file]
    wishes = sorted(anchors_first(model.wishes()), key=lambda wish: wish.name not in first)
    _follow(model, wishes)
    due = {wish.name for wish in wishes if is_due(model, wish, model.own.get(wish.name))}
    moved = {wish.name for wish in wishes if chains.is_due(model, wish)}
    taken = {wish.name for wish in wishes if model.was_taken(wish)}
    model.claimed = {model.spot(wish) for wish in wishes if _tries_in_vain(model, wish)}
    model.states = {}
    for wish in wishes:
        model.states[wish.name] = _carry_out(model, wish, taken=wish.name in taken)
        if wish.name in due and model.states[wish.name] is State.ATTACHED and is_second_best(model, wish):
            _put_anew(model, wish)
        if wish.name in moved and model.states[wish.name] is State.ATTACHED:
            chains.place(model, wish)
            model.own[wish.name].order = wish.entry.order
            model.gaps.add(model.spot(wish))
            model.asked.discard(wish.name)
    tried, awaited = _claimed(model, wishes)
    for wish in wishes:
        if model.states[wish.name] is State.WAITING:
            _leave(model, wish.name, tried)
    kept = {
        name
        for name in model.own
        if tried.intersection(model.left_by(name))
        or (awaited.intersection(model.left_by(name)) and name.partition("@")[0] in model.entries)
    }
    model.restored = {name: times for name, times in model.restored.items() if name in model.own}
    model.given_up &= model.own.keys()
    model.stuck &= {name for name, state in model.states.items() if state is State.FAILED}
    names = {wish.name for wish in wishes if wish.interface or not wish.entry.glob}
    _sweep(model, names, kept, several={wish.entry.name for wish in wishes if wish.entry.glob})


def _follow(model: Model, wishes: list[Wish]) -> None:
    """What is pinned on the very interface where its entry wants it under another name gets that name, and runs on."""
    pinned = {(name.partition("@")[0], own.on, own.hook): name for name, own in model.own.items() if own.prog.key}
    follow = {}
    for wish in wishes:
        if not wish.interface:
            continue
        index, met = model.interfaces[wish.interface], model.own.get(wish.name)
        name = pinned.get((wish.entry.name, index, wish.entry.hook), wish.name)
        stays = met is not None and (met.prog.key is None or met.on == index)
        here = any(spot.ifindex == index for spot in model.spots_of(wish.name))
        if name != wish.name and not stays and not here:
            follow[name] = wish.name
    for new in set(follow.values()) - follow.keys():
        _forget(model, new)
    model.rename(follow)


def _carry_out(model: Model, wish: Wish, *, taken: bool) -> State:
    if model.is_held(wish):
        _forget(model, wish.name)
        return State.DETACHED
    if wish.rivals or model.digests[wish.entry.name] == MISSING:
        return State.FAILED
    if not wish.interface:
        return State.IDLE if wish.entry.glob else State.WAITING
    if taken:
        return _displaced(model, wish)
    there = model.hooks.get(model.spot(wish))
    if there is not None and not model.is_ours(there) and not wish.entry.force:
        return State.FOREIGN
    return State.FAILED if model.needs_gap(wish) else _put(model, wish)


def _tries_in_vain(model: Model, wish: Wish) -> bool:
    """Whether it is to take a place that it cannot take: what runs there stays, wherever else it is wanted."""
    if not wish.interface or wish.rivals or model.is_held(wish) or model.needs_gap(wish):
        return False
    key = key_of(model, wish.entry)
    return is_refused(model, wish) or (needs_load(model, wish, key) and not can_be_loaded(model, key))


def _leave(model: Model, name: str, tried: set[Spot]) -> None:
    """What runs elsewhere is taken off, unless an entry still tries to take its place, and stays pinned."""
    spots = model.spots_of(name)
    if spots and not tried.intersection(spots):
        model.clear(*spots)
        model.own[name].leave()


def _displaced(model: Model, wish: Wish) -> State:
    policy = wish.entry.on_foreign
    recent = [at for at in model.restored.get(wish.name, ()) if model.now - at < MINUTE]
    if policy is OnForeign.RESTORE and wish.name not in model.given_up and len(recent) < RESTORES:
        state = _put(model, wish)
        if state is State.ATTACHED:
            model.restored[wish.name] = [*recent, model.now]
        return state
    if policy is OnForeign.RESTORE:
        model.given_up.add(wish.name)
    return State.DETACHED if policy is OnForeign.YIELD else State.FOREIGN


def _put(model: Model, wish: Wish) -> State:
    """Have the attachment's program at its spot and nowhere else, loaded before unless it is another one now."""
    own, spot = model.own.get(wish.name), model.spot(wish)
    order = own.order if own is not None else ""
    chain, gap = model.chains.get(spot[:2], []), model.would_leave_gap(wish)
    empty = gap or spot not in model.hooks
    mode = best(model, wish) if empty else model.modes.get(spot.ifindex, "")
    key, strays = key_of(model, wish.entry), set(model.spots_of(wish.name)) - model.claimed
    if is_refused(model, wish) or (wish.name in model.stuck and empty):
        return State.FAILED
    if own is None or own.prog.key != key:
        own = _staged(model, wish, key)
        if own is None:
            return State.FAILED
    _displace(model, spot, by=wish.name)
    _vacate(model, own.prog, spot, by=wish.name)
    if model.hooks.get(spot) is not own.prog:
        model.asked.discard(wish.name)
    model.gaps |= {spot} if gap else set()
    model.own[wish.name] = own
    model.clear(*strays, spot)
    model.hooks[spot] = own.prog
    model.links |= {spot} if wish.entry.link else set()
    if spot.hook is Hook.XDP:
        _took(model, wish, own, mode, empty=empty)
    if spot.slot < 0 and spot.slot in chain:  # LINK_UPDATE, which changes no place
        model.chains[spot[:2]] = chain
        own.order = order
    elif spot.slot < 0:
        chains.place(model, wish)
        own.order = wish.entry.order
    own.on, own.left, own.slot, own.yielded = spot.ifindex, 0, spot.slot, False
    return State.ATTACHED


def _put_anew(model: Model, wish: Wish) -> None:
    """Try a better mode, with a moment without the program."""
    model.gaps.add(model.spot(wish))
    model.asked.discard(wish.name)
    model.changes += 1
    _took(model, wish, model.own[wish.name], best(model, wish), empty=True)


def _took(model: Model, wish: Wish, own: Own, mode: str, *, empty: bool) -> None:
    """An XDP program is in that mode now; on an empty hook all modes of the ladder were tried."""
    model.modes[model.interfaces[wish.interface]] = mode
    if empty and (wish.entry.mode == LADDER or own.tried):
        own.tried = conditions(model, wish) if wish.entry.mode == LADDER and mode == SKB else None


def _staged(model: Model, wish: Wish, key: Key) -> Own | None:
    """Return the program that is wanted: kept for a roll-back, shared with another entry, or a new one if it can be."""
    before, on = model.own.get(wish.name), model.spot(wish).ifindex
    tried = before.tried if before is not None and before.prog.key is not None and before.on == on else None
    kept = model.trial.programs.get(wish.name) if model.trial is not None else None
    shared = lender(model, wish.name, key)
    if model.trial is not None and kept is not None and kept.key == key:
        return Own(kept, key.hook, on, maps=wish.name in model.trial.maps, tried=tried)
    if shared is not None:
        pinned = {own.maps for own in lenders(model, wish.name, key)}
        return Own(shared.prog, key.hook, on, maps=shared.maps if len(pinned) == 1 else None, tried=tried)
    if wish.name in model.stuck or not can_be_loaded(model, key):
        return None
    prog, maps = load(model, wish, key)
    return Own(prog, key.hook, on, maps=maps, tried=tried)


def _displace(model: Model, spot: Spot, *, by: str) -> None:
    """What we ourselves put in the place of a program of ours was not put there by others."""
    for name, own in model.own.items():
        if name != by and spot in model.spots_of(name):
            own.yielded = True
            own.leave()


def _vacate(model: Model, prog: Prog, spot: Spot, *, by: str) -> None:
    """A shared program that others took off there was another entry's, and is not any more."""
    for name, own in model.own.items():
        if name != by and own.prog is prog and Spot(own.on, own.hook, own.slot) == spot:
            own.leave()


def _forget(model: Model, name: str) -> None:
    if name in model.own:
        model.clear(*model.left_by(name))
        del model.own[name]


def _claimed(model: Model, wishes: list[Wish]) -> tuple[set[Spot], set[Spot]]:
    """Return the places where an entry is wanted that fails, when it tries, and when it waits for its object or us."""
    failed = [w for w in wishes if model.states[w.name] is State.FAILED and w.interface]
    refused = [w for w in failed if w.rivals or model.digests[w.entry.name] == MISSING or model.needs_gap(w)]
    tried = {model.spot(wish) for wish in failed if wish not in refused}
    return tried, {model.spot(wish) for wish in refused}


def _sweep(model: Model, names: set[str], kept: set[str], *, several: set[str]) -> None:
    """What nobody wants goes at once where it ended by request, else after the time of grace; what is `kept` stays."""
    unwanted = [name for name in model.own if name not in names]
    alone = [name for name in unwanted if not _goes_at_once(model, name, several)]
    model.orphans = {name: model.orphans.get(name, model.now) for name in alone}
    for name in unwanted:
        if name not in kept and (name not in alone or model.now - model.orphans[name] >= GRACE):
            _forget(model, name)
            model.orphans.pop(name, None)


def _goes_at_once(model: Model, name: str, several: set[str]) -> bool:
    entry = name.partition("@")[0]
    here = bool(model.spots_of(name)) or {model.own[name].on, model.own[name].left} & {*model.interfaces.values()}
    return bool({name, entry} & model.ended) or (entry in several and bool(here))

"""A kill within an order, or a pass: what may be there then, and what the next start is to make of it.

Each hook has the program of before or the one that was asked for, and none only where one of the two says none. The
next start wants what was wanted before or what was asked for, and goes there from whatever it finds.
"""

import copy
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from tests.campaigns.machine import asking
from tests.campaigns.machine.bench import NAMES, Bench
from tests.campaigns.machine.host import OWN, Seen, Spot
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.orders import Order
from tests.campaigns.machine.settling import settle
from tests.campaigns.machine.things import Own, Prog
from xdploaderd.hooks import Hook


def kill_within(bench: Bench, order: Order, calls: int) -> None:
    """Kill the daemon after so many calls of an order, look at what it left, and start it again."""
    _kill(bench, order.ask(bench.core.service), calls, order.tell, *([order.begin] if order.begin else []))


def kill_in_pass(bench: Bench, change: Callable[[], None], calls: int) -> None:
    """Change the world, and kill the daemon after so many calls of the pass that this asks for; start it again."""
    bench.model.stuck = set()  # what failed may be tried again: the change may make it another action
    change()
    _kill(bench, bench.core.one_pass(), calls, settle)


def kill_in_roll_back(bench: Bench, calls: int) -> None:
    """Let the time of a trial be over, and kill the daemon after so many calls of the roll-back; start it again."""
    assert bench.model.trial is not None
    bench.clock.ahead += max(0.0, bench.model.trial.deadline - bench.clock.steady()) + 1
    _kill(bench, bench.core.rolled_back(), calls, asking.roll_back)


def _kill(bench: Bench, work: Coroutine[Any, Any, object], calls: int, *tell: Callable[[Model], object]) -> None:
    """Kill the daemon within some work; `tell`: what the model makes of it, and where else it may have come to."""
    before = bench.model
    bench.core.kill_in(work, calls)
    bench.counts["killed"] += 1
    before.now = bench.clock.steady()
    before.gaps = set()
    told = [_told(before, each) for each in tell]
    after = told[0]
    seen = bench.eyes.observe(NAMES)
    pinned = {file.parent.name for file in OWN.glob("*/prog*")}
    before.rename(dict(_renamed(before, after, pinned)))
    hooks = dict(_hooks(before.hooks, after.hooks, seen.programs, bench.known, after.gaps))
    owns = [_own(before, after, hooks, pinned, noted=noted) for noted in (False, True)]
    hooks = {spot: prog for spot, prog in hooks.items() if not _is_repaired(before, spot, owns[0])}
    found = _found(hooks, seen)
    bench.core.start()
    bench.counts["starts"] += 1
    now = bench.clock.steady()
    if before.trial is not None and now >= before.trial.deadline:
        bench.core.until_rolled_back()
    for own in owns:
        _blame_nobody(before, after, hooks, own)
    bench.choose([_started(wants, found, own, now) for own in owns for wants in (after, before, *told[1:])])


def _told(before: Model, tell: Callable[[Model], object]) -> Model:
    model = _copy(before)
    tell(model)
    return model


def _copy(model: Model) -> Model:
    """Copy all but the programs: one program is one, in whichever of the models."""
    owned = (own.prog for own in (*model.own.values(), *model.unpinned.values()))
    kept = model.trial.programs.values() if model.trial is not None else ()
    return copy.deepcopy(model, {id(prog): prog for prog in (*model.hooks.values(), *owned, *kept)})


def _renamed(before: Model, after: Model, pinned: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what was pinned for an interface under one name, and is by now under the one that its entry has there."""
    for new, own in after.own.items():
        if new in before.own or new not in pinned:
            continue
        for name, old in before.own.items():
            same = (name.partition("@")[0], old.hook, old.on) == (new.partition("@")[0], own.hook, own.on)
            if same and name not in pinned:
                yield name, new
                break


def _hooks(
    before: Mapping[Spot, Prog],
    after: Mapping[Spot, Prog],
    found: Mapping[Spot, int],
    known: set[int],
    gaps: set[Spot],
) -> Iterator[tuple[Spot, Prog]]:
    """Yield what is on the hooks: each time the old program, the new one, or nothing where one of both says so.

    `gaps`: there the kind of attachment changes, with a moment without a program.
    """
    for spot in before.keys() | after.keys() | found.keys():
        number, old, new = found.get(spot, 0), before.get(spot), after.get(spot)
        if not number:
            assert old is None or new is None or spot in gaps, (
                f"{spot} has no program after the kill, want {old} or {new}"
            )
        elif old is not None and number == old.id:
            yield spot, old
        else:
            assert new is not None, f"{spot} has program {number} after the kill, want {old} or none"
            assert number == new.id or (not new.id and number not in known), f"{spot} has {number}, want {old} or {new}"
            new.id = number
            known.add(number)
            yield spot, new


def _own(before: Model, after: Model, hooks: Mapping[Spot, Prog], pinned: set[str], *, noted: bool) -> dict[str, Own]:
    """Return what is pinned: a new program counts where it runs, else the next start drops it.

    `noted`: of a program that was attached elsewhere it was noted where it runs now.
    """
    found = {}
    for name in before.own.keys() | after.own.keys():
        old, new = before.own.get(name), after.own.get(name)
        runs = new is not None and any(hooks.get(spot) is new.prog for spot in after.spots_of(name))
        if name not in pinned:
            assert old is None or new is None, f"'{name}' has no pins after the kill"
        elif new is not None and runs and (noted or old is None or new.prog is not old.prog):
            found[name] = copy.copy(new)
        elif old is not None:
            found[name] = copy.copy(old)
    return found


def _is_repaired(before: Model, spot: Spot, own: Mapping[str, Own]) -> bool:
    """Whether the next start takes a program off: the new one of its attachment runs elsewhere already."""
    owners = [name for name in before.own if spot in before.spots_of(name)]
    return any(name in own and own[name].prog is not before.own[name].prog for name in owners)


def _blame_nobody(before: Model, after: Model, hooks: Mapping[Spot, Prog], own: Mapping[str, Own]) -> None:
    """Note of what is pinned that the daemon itself took off what ran before and does not any more."""
    for name, each in own.items():
        ran = before.spots_of(name)
        if ran and not any(hooks.get(spot) is each.prog for spot in (*ran, *after.spots_of(name))):
            each.leave()


def _found(hooks: dict[Spot, Prog], seen: Seen) -> Model:
    """Return a model of the hooks alone, as the next start finds them."""
    slots = {(spot[:2], number): spot.slot for spot, number in seen.links.items() if spot in hooks}
    chains = {
        hook: [slots[hook, each] for each in chain if (hook, each) in slots] for hook, chain in seen.chains.items()
    }
    modes = {spot.ifindex: seen.modes[spot.ifindex] for spot in hooks if spot.hook is Hook.XDP}
    return Model(hooks=hooks, links=set(seen.links) & hooks.keys(), modes=modes, chains=chains)


def _started(wants: Model, found: Model, own: Mapping[str, Own], now: float) -> Model:
    model, there = _copy(wants), _copy(found)
    model.hooks, model.links, model.modes, model.chains = there.hooks, there.links, there.modes, there.chains
    model.own, model.now = {name: copy.copy(each) for name, each in own.items()}, now
    asking.start(model)
    return model

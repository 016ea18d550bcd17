"""Where among the programs of a TCX hook ours runs, against where the entry wants it: pure.

The kernel moves no link, so another place means to attach anew, with a moment without our program; and others may put
theirs before or behind it at any time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.plan.world import Observed, Owned, Place, Wanted
from xdploaderd.hooks import Hook, Where
from xdploaderd.uapi.bpf import ProgId

MOVED: Final = "its place among the programs of the hook changes, and the entry says allow_gap"
_DEPTH: Final = 16  # of entries that are each to run before or after the next

Chain = Sequence[tuple[ProgId, str]]


def anchors_first(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return the entries with those that others are to run before or after ahead of these, else in their order."""
    anchors = {entry_of(want.config.name): want.config.order.partition(":")[2] for want in wanted if want.config.order}

    def depth(name: str) -> int:
        for steps in range(_DEPTH):
            if name not in anchors:
                return steps
            name = anchors[name]
        return _DEPTH

    return sorted(wanted, key=lambda want: depth(entry_of(want.config.name))) if anchors else list(wanted)


def position(chain: Chain, owned: Owned) -> int:
    """Return the place of the entry's program on its hook, from 1; 0 where it is not on it."""
    ids = [number for number, _ in chain]
    return ids.index(owned.prog.id) + 1 if owned.prog is not None and owned.prog.id in ids else 0


def holds(order: str, chain: Chain, owned: Owned, others: Mapping[str, Owned]) -> bool:
    """Return whether the program is where `order` says; so it is where what the order goes by is not on the hook."""
    where, _, name = order.partition(":")
    at = position(chain, owned) - 1
    match where:
        case Where.FIRST:
            return at == 0
        case Where.LAST:
            return at == len(chain) - 1
        case Where.BEFORE | Where.AFTER:
            other = _anchor(name, chain, others)
            return other is None or (at < other) is (where == Where.BEFORE)
        case _:
            return True


def is_due(want: Wanted, observed: Observed, owned: Owned, found: Place) -> bool:
    """Return whether the program is to be attached anew for the sake of its order.

    Only when that is asked for, or the entry has another order than the one that the program was put in. A reload of
    all breaks no other entry's order by it: where two contradict each other, each reload would move one of them.
    """
    config = want.config
    if not config.order or not config.allow_gap or found.hook is Hook.XDP:
        return False
    changed = owned.record is None or owned.record.order != config.order
    if not want.retake and not changed:
        return False
    chain = observed.chains.get((found.ifindex, found.hook), ())
    if not chain or holds(config.order, chain, owned, observed.owned):
        return False
    return want.asked or changed or not _breaks_another(config.order, chain, owned, observed.owned)


def _breaks_another(order: str, chain: Chain, owned: Owned, others: Mapping[str, Owned]) -> bool:
    """Whether an entry of ours that is in its order now would not be in it any more."""
    after = _moved(order, chain, owned, others)
    return any(
        holds(other.record.order, chain, other, others) and not holds(other.record.order, after, other, others)
        for other in others.values()
        if other.name != owned.name and other.record is not None and position(chain, other)
    )


def _moved(order: str, chain: Chain, owned: Owned, others: Mapping[str, Owned]) -> Chain:
    """Return the programs of the hook as they are once ours was put in its order."""
    at = position(chain, owned) - 1
    rest = [*chain[:at], *chain[at + 1 :]]
    where, _, name = order.partition(":")
    anchor = _anchor(name, rest, others)
    to = {Where.FIRST: 0, Where.BEFORE: anchor, Where.AFTER: None if anchor is None else anchor + 1}.get(Where(where))
    rest.insert(len(rest) if to is None else to, chain[at])
    return rest


def note_of(order: str, chain: Chain, owned: Owned, others: Mapping[str, Owned]) -> str:
    """Return what a user is told of a program that is not where its entry wants it; empty where it is."""
    if not chain or holds(order, chain, owned, others):
        return ""
    again = f"`xdploaderctl attach {owned.name}` with `allow_gap: true` in the entry attaches it anew"
    return f"runs as {position(chain, owned)} of {len(chain)}, wanted {order.replace(':', ' ')}; {again}"


def _anchor(name: str, chain: Chain, others: Mapping[str, Owned]) -> int | None:
    ids = [number for number, _ in chain]
    entries = (owned for owned in others.values() if name in (owned.name, entry_of(owned.name)))
    for entry in entries:  # of an entry for several interfaces, the attachment on this one
        if entry.prog is not None and entry.prog.id in ids:
            return ids.index(entry.prog.id)
    matches = (at for at, (number, known) in enumerate(chain) if name in (str(number), known))
    return next(matches, None)

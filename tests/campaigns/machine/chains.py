"""The programs of a TCX hook in the order they run, by their slots: where a new one goes, and who is out of place."""

from collections.abc import Sequence

from tests.campaigns.machine.model import Model
from tests.campaigns.machine.things import TCX, Wish
from xdploaderd.hooks import Where


def anchors_first(wishes: Sequence[Wish]) -> list[Wish]:
    """Return the wishes with an order behind those without, and behind those that they are to run before or after."""
    anchors = {wish.entry.name: _anchor(wish) for wish in wishes if wish.entry.order and wish.entry.slot < 0}

    def depth(name: str) -> int:
        return 1 + depth(anchors[name]) if name in anchors else 0

    return sorted(wishes, key=lambda wish: depth(wish.entry.name))


def place(model: Model, wish: Wish) -> None:
    """Put a link where its entry wants it among those that are there; without an order, and without what it goes by."""
    spot = model.spot(wish)
    model.chains[spot[:2]] = _placed(wish, spot.slot, model.chains.get(spot[:2], ()))


def out_of_place(model: Model, wish: Wish) -> bool:
    """Whether it is there, and not where its entry wants it: what it goes by came later."""
    if not wish.interface or not wish.entry.order or not wish.entry.link:
        return False
    spot = model.spot(wish)
    chain = model.chains.get(spot[:2], [])
    return spot.slot in chain and not _holds(wish.entry.order, spot.slot, chain, wish.interface)


def is_due(model: Model, wish: Wish) -> bool:
    """Whether it is put in its order anew: it was put in another one, or that was asked for.

    A reload of all moves none that would put another one out of its order.
    """
    own = model.own.get(wish.name)
    if own is None or not wish.entry.gap or not out_of_place(model, wish):
        return False
    if wish.name in model.urged or own.order != wish.entry.order:
        return True
    return wish.name in model.asked and not _breaks_another(model, wish)


def _breaks_another(model: Model, wish: Wish) -> bool:
    spot = model.spot(wish)
    chain = model.chains[spot[:2]]
    after = _placed(wish, spot.slot, chain)
    orders = {TCX[name]: own.order for name, own in model.own.items() if TCX.get(name) in chain}
    others = [(orders[slot], slot) for slot in chain if slot != spot.slot and slot in orders]
    return any(
        _holds(order, slot, chain, wish.interface) and not _holds(order, slot, after, wish.interface)
        for order, slot in others
    )


def _placed(wish: Wish, slot: int, before: Sequence[int]) -> list[int]:
    chain = [other for other in before if other != slot]
    where, _, anchor = wish.entry.order.partition(":")
    at = _at(anchor, chain, wish.interface)
    match where:
        case Where.FIRST | Where.BEFORE:
            chain.insert(at or 0, slot)
        case Where.AFTER if at is not None:
            chain.insert(at + 1, slot)
        case _:
            chain.append(slot)
    return chain


def _holds(order: str, slot: int, chain: Sequence[int], interface: str) -> bool:
    where, _, name = order.partition(":")
    here, anchor = chain.index(slot), _at(name, chain, interface)
    match where:
        case "":
            return True
        case Where.FIRST:
            return here == 0
        case Where.LAST:
            return here == len(chain) - 1
        case _:
            return anchor is None or (here < anchor) is (where == Where.BEFORE)


def _anchor(wish: Wish) -> str:
    return wish.entry.order.partition(":")[2]


def _at(anchor: str, chain: Sequence[int], interface: str) -> int | None:
    """Return where in a chain the program is that an entry goes by."""
    names = (anchor, f"{anchor}@{interface}")
    return next((chain.index(TCX[name]) for name in names if TCX.get(name) in chain), None)

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
    chain = [slot for slot in model.chains.get(spot[:2], ()) if slot != spot.slot]
    where, at = wish.entry.order.partition(":")[0], _at(wish, chain)
    match where:
        case Where.FIRST | Where.BEFORE:
            chain.insert(at or 0, spot.slot)
        case Where.AFTER if at is not None:
            chain.insert(at + 1, spot.slot)
        case _:
            chain.append(spot.slot)
    model.chains[spot[:2]] = chain


def out_of_place(model: Model, wish: Wish) -> bool:
    """Whether it is there, and not where its entry wants it: what it goes by came later."""
    if not wish.interface or not wish.entry.order or not wish.entry.link:
        return False
    spot = model.spot(wish)
    chain = model.chains.get(spot[:2], [])
    if spot.slot not in chain:
        return False
    here, anchor = chain.index(spot.slot), _at(wish, chain)
    match wish.entry.order.partition(":")[0]:
        case Where.FIRST:
            return here != 0
        case Where.LAST:
            return here != len(chain) - 1
        case where:
            return anchor is not None and (here < anchor) is not (where == Where.BEFORE)


def _anchor(wish: Wish) -> str:
    return wish.entry.order.partition(":")[2]


def _at(wish: Wish, chain: Sequence[int]) -> int | None:
    """Return where in a chain the program is that the entry goes by."""
    names = (_anchor(wish), f"{_anchor(wish)}@{wish.interface}")
    return next((chain.index(TCX[name]) for name in names if TCX.get(name) in chain), None)

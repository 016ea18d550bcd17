"""The modes of XDP: which one a driver takes, which will do for an entry, and when a better one is tried again."""

from tests.campaigns.machine.model import Model
from tests.campaigns.machine.things import LADDER, Own, Wish
from xdploaderd.hooks import Hook

NATIVE, SKB = "native", "skb"


def best(model: Model, wish: Wish) -> str:
    """Return the mode that an entry's program gets on an empty hook; '' where the driver takes none that will do."""
    refuses = model.interfaces[wish.interface] in model.refusing
    match wish.entry.mode:
        case mode if mode == LADDER:
            return SKB if refuses else NATIVE
        case mode if mode == SKB:
            return SKB
        case _:
            return "" if refuses else NATIVE


def is_refused(model: Model, wish: Wish) -> bool:
    """Whether the driver refuses the program: on an empty hook, or on one that has to be emptied for it."""
    if not wish.interface or wish.entry.hook is not Hook.XDP:
        return False
    empty = model.spot(wish) not in model.hooks or model.would_leave_gap(wish)
    return empty and not best(model, wish)


def conditions(model: Model, wish: Wish) -> tuple[int, int]:
    """Return what may make a driver change its mind."""
    index = model.interfaces[wish.interface]
    return index, model.mtus[index]


def is_second_best(model: Model, wish: Wish) -> bool:
    """Whether an entry's program runs in a mode that is not the best of its ladder."""
    index = model.interfaces.get(wish.interface, 0)
    runs = any(spot.ifindex == index for spot in model.spots_of(wish.name))
    return wish.entry.hook is Hook.XDP and wish.entry.mode == LADDER and runs and model.modes.get(index) == SKB


def is_due(model: Model, wish: Wish, own: Own | None) -> bool:
    """Whether a better mode is to be tried now, with a moment without a program."""
    if own is None or own.prog.key is None or not wish.entry.gap or not is_second_best(model, wish):
        return False
    return wish.name in model.urged or own.tried != conditions(model, wish)

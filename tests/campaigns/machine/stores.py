"""The maps of programs that are pinned nowhere: which program has which, what it holds, and who shares one."""

from collections.abc import Iterator

from tests.campaigns.machine.model import Model
from tests.campaigns.machine.things import BAD, INIT, MISSING, Entry, Key, Own, Prog, Store, Wish


def key_of(model: Model, entry: Entry) -> Key:
    """Return what an entry's program is loaded from."""
    return Key(model.digests[entry.name], entry.hook, entry.shared, entry.init)


def can_be_loaded(model: Model, key: Key) -> bool:
    """Whether the object is one, and the file that its map is filled from can be read."""
    return key.content not in (BAD, MISSING) and not (key.init and model.files[INIT] in (BAD, MISSING))


def needs_load(model: Model, wish: Wish, key: Key) -> bool:
    """Whether neither the entry nor one that it shares with has that program."""
    own = model.own.get(wish.name)
    return (own is None or own.prog.key != key) and lender(model, wish.name, key) is None


def lender(model: Model, name: str, key: Key) -> Own | None:
    """Return whose loaded program is taken instead of loading: with `maps: shared` anybody's, as it is loaded once."""
    return next(lenders(model, name, key), None)


def lenders(model: Model, name: str, key: Key) -> Iterator[Own]:
    """Yield all who have it; which of them it is taken from makes no difference but in what is pinned beside it."""
    others = (own for other, own in model.own.items() if other != name and key.shared)
    yield from (own for own in (*others, *(model.lent if key.shared else ())) if own.prog.key == key)


def load(model: Model, wish: Wish, key: Key) -> tuple[Prog, bool]:
    """Load a program; return it and whether its map is pinned beside it. One that is kept is, with what it holds."""
    before = model.own.get(wish.name)
    if wish.entry.keep and before is not None:
        return Prog(key, before.prog.store), True
    return Prog(key, Store(int(model.files[INIT]) if key.init else 0)), wish.entry.keep

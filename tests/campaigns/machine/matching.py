"""Which entry is for which interface, as the manual page says: an exact name beats a glob, two globs are rivals."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from tests.campaigns.machine.things import Entry, Wish


def resolve(entries: Mapping[str, Entry], interfaces: Mapping[str, int]) -> Iterator[Wish]:
    """Yield the attachments of these entries on the interfaces there are (indexes by name)."""
    fits = [wish for entry in entries.values() for wish in _fits(entry, interfaces)]
    for wish in fits:
        rivals = [w for w in fits if wish.interface and w.interface == wish.interface and _meets(w, wish)]
        exact = [w for w in rivals if not w.entry.glob]
        if exact and wish not in exact:
            continue
        yield Wish(wish.name, wish.entry, wish.interface, rivals=not exact and len(rivals) > 1)
    taken = {wish.entry.name for wish in fits if not _gives_way(wish, fits)}
    for entry in entries.values():
        if entry.glob and entry.name not in taken:
            yield Wish(entry.name, entry, "")


def _gives_way(wish: Wish, fits: list[Wish]) -> bool:
    same = [w for w in fits if w.interface == wish.interface and w.interface and _meets(w, wish)]
    return wish.entry.glob and any(not w.entry.glob for w in same)


def _fits(entry: Entry, interfaces: Mapping[str, int]) -> Iterator[Wish]:
    if not entry.glob:
        yield Wish(entry.name, entry, entry.where if entry.where in interfaces else "")
        return
    for name in sorted(interfaces, key=lambda each: interfaces[each]):
        if fnmatchcase(name, entry.where):
            yield Wish(f"{entry.name}@{name}", entry, name)


def _meets(one: Wish, other: Wish) -> bool:
    return (one.entry.hook, one.entry.slot) == (other.entry.hook, other.entry.slot)

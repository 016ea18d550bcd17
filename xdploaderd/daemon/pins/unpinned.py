"""What is ours although its pin was removed: the program that is recorded, for as long as it runs where we attached it.

The kernel gives the id of a program again only after 2^31 others; its tag, name and time of load are compared besides.
To look at it by its id, and to pin it again, takes CAP_SYS_ADMIN: without that the id alone tells.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.pins.own_pins import PROG, OwnPins
from xdploaderd.daemon.pins.pin_names import pin_name
from xdploaderd.daemon.plan.world import Occupant, Owned, Record
from xdploaderd.errors import KernelError
from xdploaderd.hooks import Hook
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgId, ProgType

Known = tuple[tuple[str, ProgId], Record]


def of_program(record: Record, prog: ProgInfo, arrays: Iterable[str] = ()) -> Record:
    """Return the record of a program by which it is known again; `arrays` are pinned beside it."""
    names = ",".join(sorted(map(pin_name, arrays)))
    return replace(record, label=prog.name, tag=prog.tag, loaded=prog.load_time_ns, arrays=names)


def is_emptied(pins: OwnPins, record: Record, prog_id: ProgId) -> bool:
    """Return whether a program array has lost its pin, and so was emptied by the kernel. Raises PinError."""
    if not record.arrays:
        return False
    there = {path.name for path in pins.array_paths(record.attachment, prog_id)}
    return not there.issuperset(record.arrays.split(","))


def find_unpinned(owned: Sequence[Owned], records: Iterable[Known], pins: OwnPins, bpf: Bpf) -> Iterator[Owned]:
    """Yield what is recorded, is not among what is pinned and may run. Raises PinError, KernelError."""
    pinned = {one.name for one in owned if one.prog is not None or one.staged is not None}
    for (name, prog_id), record in records:
        if name in pinned or not (record.ifindex and record.tag) or _is_anothers(record, prog_id, owned):
            continue
        prog, sure = _look(bpf, prog_id, record)
        if prog is not None:
            found = pins.look(name, running=prog_id)
            yield Owned(
                name=name,
                prog=prog,
                leftovers=found.leftovers,
                pins=found.paths,
                record=record,
                links=found.links,
                emptied=is_emptied(pins, record, prog_id),
                pinned=False,
                sure=sure,
                pin=str(pins.directory(name) / PROG),
            )


def pinned_or_running(
    owned: Sequence[Owned], occupants: Sequence[Occupant], entries: AbstractSet[str], names: AbstractSet[str]
) -> tuple[Owned, ...]:
    """Return what is pinned, and of the rest what runs where it was attached for one of these entries.

    A program has one name at a place, of several on record that of `names`: its interface was renamed meanwhile.
    """
    runs = [one for one in owned if not one.pinned and entry_of(one.name) in entries]
    runs = [one for one in runs if any(_is(one, occupant) for occupant in occupants)]
    by_place = {(one.prog, _place(one.record)): one for one in sorted(runs, key=lambda one: one.name in names)}
    found = {one.name: one for one in owned if one.pinned} | {one.name: one for one in by_place.values()}
    return tuple(found.values())


def _is(one: Owned, occupant: Occupant) -> bool:
    if one.prog is None or one.record is None or not one.record.is_at(occupant.place):
        return False
    return occupant.prog_id == one.prog.id and occupant.tag in ("", one.prog.tag)


def _is_anothers(record: Record, prog_id: ProgId, owned: Sequence[Owned]) -> bool:
    """Whether another entry has the program pinned for that very place: it was renamed, and that was cut short."""
    place = _place(record)
    pairs = ((one.prog, one.record) for one in owned)
    return any(
        prog is not None and prog.id == prog_id and (other is None or _place(other) == place) for prog, other in pairs
    )


def _place(record: Record | None) -> tuple[int, Hook, int, int] | None:
    return (record.ifindex, record.hook, record.priority, record.handle) if record is not None else None


def _look(bpf: Bpf, prog_id: ProgId, record: Record) -> tuple[ProgInfo | None, bool]:
    """Return the program of that id if it is the recorded one, and whether that is sure."""
    try:
        with bpf.prog_by_id(prog_id) as prog:
            found = bpf.prog_info(prog)
    except KernelError as error:
        kind = ProgType.XDP if record.hook is Hook.XDP else ProgType.SCHED_CLS
        told = ProgInfo(id=prog_id, type=kind, name=record.label, tag=record.tag, load_time_ns=record.loaded)
        return (told if error.errno == errno.EPERM else None), False
    same = (found.tag, found.name, found.load_time_ns) == (record.tag, record.label, record.loaded)
    return (found if same else None), True

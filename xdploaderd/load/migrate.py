"""Copy the entries of a map into the one that takes its place, where keys are equal and values have grown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.errors import PinMismatchError
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.map_batch import Batch, lookup_batches, update_batch
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.fill import batch_size
from xdploaderd.load.restore import value_bytes
from xdploaderd.load.reuse import differences
from xdploaderd.obj.map_document import ARRAYS, PER_CPU, SLOT
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapType, enum_name

COPIED = frozenset(
    {
        MapType.HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
    }
)


@dataclass(frozen=True, slots=True)
class OldMap:
    """The map whose place another one takes, borrowed, and its pin, if it has one; `copied`: with its entries."""

    fd: Fd
    info: MapInfo
    path: PurePosixPath | None
    copied: bool


def why_not_copied(spec: MapSpec, info: MapInfo) -> str:
    """Return why the entries of a map cannot go into one of that definition; empty when they can."""
    reasons = {
        "its type is another": spec.type != info.type,
        f"a map of type {enum_name(MapType, info.type)} holds more than plain values": info.type not in COPIED,
        "the object's own map is read-only": spec.freeze,
        "its keys have another size": spec.key_size != info.key_size,
        f"its values have {info.value_size} bytes and would lose some": spec.value_size < info.value_size,
        f"it has {info.max_entries} elements and would lose some": info.type in ARRAYS
        and spec.max_entries < info.max_entries,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_copied(spec: MapSpec, info: MapInfo, path: PurePosixPath | None) -> None:
    """Raise PinMismatchError unless the entries can be copied."""
    if reason := why_not_copied(spec, info):
        found = tuple(differences(spec, info))
        where = f"the map pinned at '{path}'" if path else "the running program's map"
        raise PinMismatchError(
            f"{where} cannot be migrated, {reason}: {'; '.join(found)}",
            path=str(path or ""),
            differences=found,
        )


def copy_entries(bpf: Bpf, old: OldMap, new: Fd, spec: MapSpec) -> None:
    """Copy every entry; what values have grown by is zero. Raises KernelError, PinMismatchError when not all fit."""
    check_room(bpf, old, spec)
    for batch in _batches(bpf, old.fd, old.info):
        _put(bpf, new, _widened(batch, old.info, spec.value_size), old.info.key_size)


def copy_again(bpf: Bpf, old: OldMap, new: Fd, new_info: MapInfo) -> None:
    """Copy what the old program wrote since, and remove what it removed; the new program does not run yet."""
    kept: set[bytes] = set()
    size = old.info.key_size
    for batch in _batches(bpf, old.fd, old.info):
        _put(bpf, new, _widened(batch, old.info, new_info.value_size), size)
        kept.update(_keys(batch, size))
    if old.info.type in ARRAYS:
        return
    gone = [key for batch in _batches(bpf, new, new_info) for key in _keys(batch, size) if key not in kept]
    for key in gone:
        bpf.map_delete(new, key)


def count_entries(bpf: Bpf, fd: Fd, info: MapInfo) -> int:
    """Return how many entries a map holds; an array always has all of its elements. Raises KernelError."""
    return info.max_entries if info.type in ARRAYS else sum(batch.length for batch in _batches(bpf, fd, info))


def check_room(bpf: Bpf, old: OldMap, spec: MapSpec) -> None:
    """Raise PinMismatchError when a smaller map has no room for the entries there are."""
    if spec.max_entries >= old.info.max_entries:
        return
    number = count_entries(bpf, old.fd, old.info)
    if number > spec.max_entries:
        found = tuple(differences(spec, old.info))
        raise PinMismatchError(
            f"the map cannot be migrated, it has {number} entries: {'; '.join(found)}",
            path=str(old.path or ""),
            differences=found,
        )


def _batches(bpf: Bpf, fd: Fd, info: MapInfo) -> Iterator[Batch]:
    """Yield all elements; one by one where the kernel gives no batches of them, some of them twice then."""
    size = value_bytes(info)
    try:
        yield from lookup_batches(bpf, fd, info.key_size, size, batch_size(info.key_size, size))
    except OSError:
        yield from _singles(bpf, fd, info, size)


def _singles(bpf: Bpf, fd: Fd, info: MapInfo, size: int) -> Iterator[Batch]:
    seen: set[bytes] = set()
    key = bpf.map_next_key(fd, None, info.key_size)
    while key is not None and key not in seen and len(seen) < info.max_entries:
        seen.add(key)
        value = bpf.map_lookup(fd, key, size)
        if value is not None:
            yield Batch(1, key, value)
        key = bpf.map_next_key(fd, key, info.key_size)


def _widened(batch: Batch, old: MapInfo, new_size: int) -> Batch:
    """Return the elements with values of the new size; of a per-CPU map, each CPU's value has a slot of 8 bytes x n."""
    if old.type not in PER_CPU:
        before, after = old.value_size, new_size
    else:
        before, after = (-(-size // SLOT) * SLOT for size in (old.value_size, new_size))
    if before == after:
        return batch
    fill = bytes(after - before)
    values = batch.values
    return batch._replace(values=b"".join(values[at : at + before] + fill for at in range(0, len(values), before)))


def _keys(batch: Batch, size: int) -> Iterator[bytes]:
    return (batch.keys[at : at + size] for at in range(0, batch.length * size, size))


def _put(bpf: Bpf, fd: Fd, batch: Batch, key_size: int) -> None:
    if not batch.length or update_batch(bpf, fd, batch):
        return
    size = len(batch.values) // batch.length
    for number, key in enumerate(_keys(batch, key_size)):
        bpf.map_update(fd, key, batch.values[number * size : (number + 1) * size])

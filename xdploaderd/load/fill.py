"""Entries into a map: in batches where the kernel takes them, else, or where one is refused, one by one."""

from collections.abc import Iterator, Mapping, Sequence

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import error_context
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus
from xdploaderd.kernel.map_batch import Batch, update_batch
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.map_document import PER_CPU, Document, Entry, EntryShape, read_entries
from xdploaderd.obj.overrides import defined_map
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.printable import quoted

Entries = Mapping[str, tuple[Entry, ...]]
_BATCH_BYTES = 1 << 20
_BATCH_MAX = 4096  # elements


def batch_size(key_size: int, value_size: int) -> int:
    """Return how many elements make a batch of about 1 MiB, 4,096 at most."""
    return max(1, min(_BATCH_MAX, _BATCH_BYTES // (key_size + value_size or 1)))


def read_init(prepared: PreparedObject, init: Mapping[str, Document]) -> Entries:
    """Return the entries that new maps of an object get, all of them checked.

    Raises OverrideError for no such map, ConfigError for what is wrong with a document.
    """
    if not init:
        return {}
    raw = prepared.btf
    btf = Btf.parse(raw, name=prepared.spec.name) if raw is not None else prepared.spec.btf
    found: dict[str, tuple[Entry, ...]] = {}
    for name, document in init.items():
        defined_map(prepared.spec, name)
        if name in prepared.maps:
            with error_context(f"map {quoted(name)}"):
                found[name] = read_entries(document, shape_of_spec(prepared.maps[name], btf))
    return found


def shape_of_spec(spec: MapSpec, btf: Btf | None) -> EntryShape:
    """Return how the entries of a map to be made are read."""
    return EntryShape(
        type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=spec.max_entries,
        cpus=possible_cpus() if spec.type in PER_CPU else (),
        btf=btf if spec.key_type_id or spec.value_type_id else None,
        key_type_id=spec.key_type_id,
        value_type_id=spec.value_type_id,
    )


def put_entries(bpf: Bpf, fd: Fd, entries: Sequence[Entry]) -> None:
    """Set entries in a map. Raises KernelError that names the one which is refused; those before it are set."""
    size = batch_size(len(entries[0].key), len(entries[0].value)) if entries else 1
    for start in range(0, len(entries), size):
        part = entries[start : start + size]
        batch = Batch(len(part), b"".join(e.key for e in part), b"".join(e.value for e in part))
        if not update_batch(bpf, fd, batch):
            _put_each(bpf, fd, enumerate(part, start))


def _put_each(bpf: Bpf, fd: Fd, entries: Iterator[tuple[int, Entry]]) -> None:
    for number, entry in entries:
        with error_context(f"entry {number}"):
            bpf.map_update(fd, entry.key, entry.value)

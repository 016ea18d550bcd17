"""Entries into a map that is in use: all of them or none, as far as others leave it alone meanwhile."""

import logging
from collections.abc import Mapping, Sequence

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import ConfigError, LoaderError, UsageError
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.fill import put_entries
from xdploaderd.obj.map_document import ARRAYS, PER_CPU, SLOT, Entry, EntryShape
from xdploaderd.uapi.bpf import MapType, enum_name

log = logging.getLogger(__name__)


def shape_of_info(info: MapInfo, btf: Btf | None) -> EntryShape:
    """Return how the entries of a map in the kernel are read."""
    return EntryShape(
        type=info.type,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        cpus=possible_cpus() if info.type in PER_CPU else (),
        btf=btf,
        key_type_id=info.btf_key_type_id,
        value_type_id=info.btf_value_type_id,
    )


def value_bytes(info: MapInfo) -> int:
    """Return how many bytes bpf(2) takes for one value: those of all CPUs where each has its own."""
    if info.type not in PER_CPU:
        return info.value_size
    return -(-info.value_size // SLOT) * SLOT * len(possible_cpus())


def restore_entries(bpf: Bpf, fd: Fd, info: MapInfo, entries: Sequence[Entry], *, replace: bool) -> None:
    """Set entries; with `replace`, remove all others. When one is refused, the map is as before.

    Raises ConfigError when the map has no room for all, UsageError to replace an array's, KernelError.
    """
    if replace and info.type in ARRAYS:
        raise UsageError(f"a map of type {enum_name(MapType, info.type)} always has all its elements")
    new = {entry.key for entry in entries}
    present = _keys(bpf, fd, info) if info.type not in ARRAYS else set()
    gone = present - new if replace else set()
    needed = len(present - gone | new)
    if needed > info.max_entries:
        raise ConfigError(f"the map would have {needed} entries, and has room for {info.max_entries}")
    size = value_bytes(info)
    before = {key: bpf.map_lookup(fd, key, size) for key in (*gone, *new)}
    try:
        for key in gone:
            bpf.map_delete(fd, key)
        put_entries(bpf, fd, entries)
    except LoaderError:
        _put_back(bpf, fd, before)
        raise


def _keys(bpf: Bpf, fd: Fd, info: MapInfo) -> set[bytes]:
    """Return the keys of a map, no more than it can hold, though others change it meanwhile."""
    keys: set[bytes] = set()
    key = bpf.map_next_key(fd, None, info.key_size)
    while key is not None and key not in keys and len(keys) < info.max_entries:
        keys.add(key)
        key = bpf.map_next_key(fd, key, info.key_size)
    return keys


def _put_back(bpf: Bpf, fd: Fd, before: Mapping[bytes, bytes | None]) -> None:
    for key, value in before.items():
        try:
            if value is None:
                bpf.map_delete(fd, key)
            else:
                bpf.map_update(fd, key, value)
        except LoaderError as error:  # the failure that led here is the one to tell
            log.debug("cannot put back an entry: %s", error)

"""The entries of a map in the kernel, as bytes (libbpf's and bpftool's walk by BPF_MAP_GET_NEXT_KEY)."""

from collections.abc import Iterator
from dataclasses import dataclass

from xdploaderd.errors import KernelError, UsageError
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.map_document import PER_CPU, SLOT
from xdploaderd.uapi.bpf import MapType, enum_name

_WITHOUT_KEYS = frozenset(
    {
        MapType.QUEUE,
        MapType.STACK,
        MapType.BLOOM_FILTER,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
        MapType.ARENA,
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
    }
)
_ENOTSUPP = 524  # of the kernel's own, which the C library does not know
_UNREADABLE = "the kernel does not show values of this type of map"


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One entry: its value, or one for each CPU; `error` says why the kernel would not read it."""

    key: bytes
    values: tuple[bytes, ...] = ()
    error: str = ""


def map_entries(bpf: Bpf, fd: Fd, info: MapInfo) -> Iterator[MapEntry]:
    """Return the entries of a map, in the kernel's order.

    The map may change meanwhile: an entry that vanishes is left out, none comes twice, and never more come than the
    map can hold. Raises UsageError for a map that has no keys to walk.
    """
    check_keys(info)
    return _walk(bpf, fd, info)


def check_keys(info: MapInfo) -> None:
    """Raise UsageError for a map that has no keys to walk, or to look for."""
    if info.type in _WITHOUT_KEYS:
        raise UsageError(f"a map of type {enum_name(MapType, info.type)} has no keys that could be listed")


def read_map_entry(bpf: Bpf, fd: Fd, info: MapInfo, key: bytes) -> MapEntry | None:
    """Return the entry with that key; None where there is none."""
    return _entry(bpf, fd, info, key, len(possible_cpus()) if info.type in PER_CPU else 0)


def _walk(bpf: Bpf, fd: Fd, info: MapInfo) -> Iterator[MapEntry]:
    cpus = len(possible_cpus()) if info.type in PER_CPU else 0
    seen: set[bytes] = set()
    key = bpf.map_next_key(fd, None, info.key_size)
    while key is not None and key not in seen and len(seen) < info.max_entries:
        seen.add(key)
        entry = _entry(bpf, fd, info, key, cpus)
        if entry is not None:
            yield entry
        key = bpf.map_next_key(fd, key, info.key_size)


def _entry(bpf: Bpf, fd: Fd, info: MapInfo, key: bytes, cpus: int) -> MapEntry | None:
    slot = -(-info.value_size // SLOT) * SLOT
    try:
        raw = bpf.map_lookup(fd, key, slot * cpus if cpus else info.value_size)
    except KernelError as error:
        return MapEntry(key, error=_UNREADABLE if error.errno == _ENOTSUPP else str(error))
    if raw is None:
        return None
    if not cpus:
        return MapEntry(key, (raw,))
    return MapEntry(key, tuple(raw[at : at + info.value_size] for at in range(0, len(raw), slot)))

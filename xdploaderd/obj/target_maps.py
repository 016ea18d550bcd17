"""Map fields that depend on the kernel a map is made in (libbpf.c, bpf_object__create_map, map_set_def_max_entries)."""

from collections.abc import Iterable
from dataclasses import replace

from xdploaderd.errors import LimitError, error_context
from xdploaderd.limits import Limits, over_limit
from xdploaderd.obj.spec import MapSpec, TargetKernel
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import Feature, MapFlags, MapType

MAX_ENTRIES = (1 << 32) - 1
RING_BUFFERS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
MAPS_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
WITHOUT_ENTRIES = frozenset(  # max_entries has to be 0
    {
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.CGROUP_STORAGE_DEPRECATED,
        MapType.PERCPU_CGROUP_STORAGE_DEPRECATED,
    }
)
PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH})
# The kernel refuses key and value types for these.
WITHOUT_BTF = frozenset(
    {
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
    }
)


def settle_map(spec: MapSpec, target: TargetKernel, *, with_btf: bool) -> MapSpec:
    """Return the map as it is to be created in `target`; `with_btf` False drops the ids of its key and value types.

    LimitError for a ring buffer too large to round up.
    """
    with error_context(f"map {quoted(spec.name)}"):
        has_btf = with_btf and spec.type not in WITHOUT_BTF
        return replace(
            spec,
            max_entries=_max_entries(spec, target),
            flags=_flags(spec, target),
            key_type_id=spec.key_type_id if has_btf else 0,
            value_type_id=spec.value_type_id if has_btf else 0,
            inner=settle_map(spec.inner, target, with_btf=with_btf) if spec.inner else None,
        )


def check_sizes(maps: Iterable[MapSpec], target: TargetKernel, limits: Limits) -> None:
    """Raise LimitError when the kernel would allocate too much for settled maps before anything is in them."""
    sizes = {spec.name: allocated_bytes(spec, target) for spec in maps}
    total = sum(sizes.values())
    if total > limits.map_bytes:
        largest = max(sizes, key=lambda name: sizes[name])
        found = f"maps of {total} bytes ({quoted(largest)} has {sizes[largest]})"
        raise over_limit(limits, "map_bytes", found, "made")


def allocated_bytes(spec: MapSpec, target: TargetKernel) -> int:
    """Return what a map's values take once it is made: value x entries x CPUs; 0 where entries come as used."""
    if spec.type in RING_BUFFERS:
        return spec.max_entries
    if spec.type == MapType.ARENA or spec.flags & MapFlags.NO_PREALLOC:
        return 0
    return spec.value_size * spec.max_entries * (target.nr_cpus if spec.type in PER_CPU else 1)


def _max_entries(spec: MapSpec, target: TargetKernel) -> int:
    if spec.type == MapType.PERF_EVENT_ARRAY and spec.max_entries == 0:
        return target.nr_cpus
    if spec.type in RING_BUFFERS:
        return _ring_buffer_size(spec.max_entries, target.page_size)
    return spec.max_entries


def _ring_buffer_size(size: int, page_size: int) -> int:
    """Return `size` rounded up to a power of two of pages; 0 is left for the kernel to refuse."""
    rounded = page_size if size else 0
    while rounded < size:
        rounded *= 2
    if rounded > MAX_ENTRIES:
        raise LimitError(f"ring buffer of {size} bytes is too large, want at most {1 << 31} bytes")
    return rounded


def _flags(spec: MapSpec, target: TargetKernel) -> int:
    if spec.section and Feature.ARRAY_MMAP not in target.features:
        return spec.flags & ~MapFlags.MMAPABLE
    return spec.flags

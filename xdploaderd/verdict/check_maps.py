"""Checks on maps: types, flags and sizes against what the kernel knows (kernel/bpf/syscall.c, map_create)."""

from collections.abc import Iterator

from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.uapi.bpf import MapFlags, MapType, enum_name
from xdploaderd.uapi.releases import MAP_TYPES_SINCE
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.model import Check, Subject, Verdict

_ARRAYS = frozenset(
    {
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.DEVMAP,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
    }
)
_HASHES = frozenset(
    {
        MapType.HASH,
        MapType.PERCPU_HASH,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP_HASH,
        MapType.SOCKHASH,
    }
)
_WITHOUT_KEY = frozenset({MapType.QUEUE, MapType.STACK, MapType.RINGBUF, MapType.USER_RINGBUF, MapType.BLOOM_FILTER})
_RINGS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_INDEX_SIZE = 4
_CREATE_FLAGS = ~int(MapFlags.INNER_MAP)


def check_maps(prepared: PreparedObject, abilities: Abilities) -> Iterator[Check]:
    """Yield the checks on each map that would be created, its inner map included, and on those that cannot be."""
    for name, error in prepared.failed.items():
        if name in prepared.spec.maps and name not in prepared.maps:
            yield Check(subject=Subject.MAP, name=name, check="struct", verdict=Verdict.FAILS, reason=error.message)
    for spec in prepared.maps.values():
        for each in (spec, spec.inner):
            if each is not None:
                yield _type_check(each, abilities)
                yield from _flag_check(each, abilities)
                yield _limit_check(each, prepared.target.page_size)


def _check(spec: MapSpec, check: str, verdict: Verdict, reason: str = "", since: str = "") -> Check:
    return Check(subject=Subject.MAP, name=spec.name, check=check, verdict=verdict, reason=reason, since=since)


def _type_check(spec: MapSpec, abilities: Abilities) -> Check:
    name = enum_name(MapType, spec.type)
    if abilities.map_types is None:
        return _check(spec, "type", Verdict.UNKNOWN, f"the BTF does not say whether the kernel knows type {name}")
    if spec.type in abilities.map_types:
        return _check(spec, "type", Verdict.HOLDS, name)
    return _check(
        spec, "type", Verdict.FAILS, f"the kernel does not know type {name}", MAP_TYPES_SINCE.get(spec.type, "")
    )


def _flag_check(spec: MapSpec, abilities: Abilities) -> Iterator[Check]:
    if not spec.flags:
        return
    if abilities.map_flags is None:
        yield _check(spec, "flags", Verdict.UNKNOWN, f"the BTF does not say whether it knows flags {spec.flags:#x}")
    elif lacking := spec.flags & ~abilities.map_flags & _CREATE_FLAGS:
        yield _check(spec, "flags", Verdict.FAILS, f"the kernel does not know flags {lacking:#x}")
    else:
        yield _check(spec, "flags", Verdict.HOLDS, f"{spec.flags:#x}")


def _limit_check(spec: MapSpec, page_size: int) -> Check:
    fault = next(_faults(spec, page_size), "")
    sizes = f"key {spec.key_size}, value {spec.value_size}, {spec.max_entries} entries"
    return _check(spec, "limits", Verdict.FAILS if fault else Verdict.HOLDS, fault or sizes)


def _faults(spec: MapSpec, page_size: int) -> Iterator[str]:
    if spec.type in _ARRAYS and spec.key_size != _INDEX_SIZE:
        yield f"its key has {spec.key_size} bytes, an index has {_INDEX_SIZE}"
    if spec.type in _HASHES and not spec.key_size:
        yield "its key has no size"
    if spec.type in _WITHOUT_KEY and spec.key_size:
        yield f"its key has {spec.key_size} bytes, its type has none"
    if spec.type in _RINGS:
        if spec.max_entries % page_size or spec.max_entries & (spec.max_entries - 1) or not spec.max_entries:
            yield f"its size is {spec.max_entries}, want a power of two of pages of {page_size} bytes"
        if spec.value_size:
            yield f"its value has {spec.value_size} bytes, a ring buffer has none"
    elif spec.type in _ARRAYS | _HASHES and not spec.max_entries:
        yield "it has no entries (max_entries is 0)"
    if spec.type in _OF_MAPS and spec.inner is None:
        yield "it holds maps, and the object does not say of which kind"
    if spec.type in _ARRAYS | _HASHES and not spec.value_size:
        yield "its value has no size"

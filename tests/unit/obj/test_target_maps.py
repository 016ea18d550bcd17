"""Map fields that depend on the target."""

from dataclasses import replace

import pytest

from tests.builders.spec import data_map, target_kernel
from xdploaderd.errors import LimitError
from xdploaderd.limits import Limits
from xdploaderd.obj.target_maps import WITHOUT_BTF, check_sizes, settle_map
from xdploaderd.uapi.bpf import Feature, MapFlags, MapType

KERNEL = target_kernel()


@pytest.mark.parametrize(
    ("wanted", "page_size", "made"),
    [(0, 4096, 0), (1, 4096, 4096), (4096, 4096, 4096), (5000, 4096, 8192), (12288, 4096, 16384), (5000, 65536, 65536)],
)
def test_ring_buffer_is_rounded_up_to_a_power_of_two_of_pages(wanted: int, page_size: int, made: int) -> None:
    spec = data_map("rb", "", 0, type=MapType.RINGBUF, max_entries=wanted)
    assert settle_map(spec, replace(KERNEL, page_size=page_size), with_btf=True).max_entries == made


def test_ring_buffer_over_two_gigabytes_is_refused() -> None:
    spec = data_map("rb", "", 0, type=MapType.RINGBUF, max_entries=(1 << 31) + 1)
    with pytest.raises(LimitError, match="map 'rb': ring buffer of 2147483649 bytes is too large"):
        settle_map(spec, KERNEL, with_btf=True)


def test_perf_event_array_without_size_has_an_entry_for_each_cpu() -> None:
    spec = data_map("events", "", 4, type=MapType.PERF_EVENT_ARRAY, max_entries=0)
    assert settle_map(spec, KERNEL, with_btf=True).max_entries == KERNEL.nr_cpus
    assert settle_map(replace(spec, max_entries=7), KERNEL, with_btf=True).max_entries == 7


@pytest.mark.parametrize("map_type", sorted(WITHOUT_BTF))
def test_type_ids_are_cleared_where_the_kernel_refuses_them(map_type: MapType) -> None:
    settled = settle_map(data_map("m", "", 4, type=map_type, key_type_id=1, value_type_id=2), KERNEL, with_btf=True)
    assert (settled.key_type_id, settled.value_type_id) == (0, 0)


def test_type_ids_of_other_maps_stay() -> None:
    settled = settle_map(data_map("m", "", 4, key_type_id=1, value_type_id=2), KERNEL, with_btf=True)
    assert (settled.key_type_id, settled.value_type_id) == (1, 2)


def test_data_map_cannot_be_mapped_on_old_kernels() -> None:
    old = replace(KERNEL, features=KERNEL.features - {Feature.ARRAY_MMAP})
    spec = data_map(".rodata", ".rodata", 4, flags=MapFlags.MMAPABLE | MapFlags.RDONLY_PROG)
    assert settle_map(spec, old, with_btf=True).flags == MapFlags.RDONLY_PROG
    assert settle_map(spec, KERNEL, with_btf=True).flags == spec.flags


def test_author_who_asks_for_mmap_hears_it_from_the_kernel() -> None:
    old = replace(KERNEL, features=KERNEL.features - {Feature.ARRAY_MMAP})
    assert settle_map(data_map("m", "", 4, flags=MapFlags.MMAPABLE), old, with_btf=True).flags == MapFlags.MMAPABLE


def test_inner_map_is_settled_too() -> None:
    inner = data_map("outer.inner", "", 0, type=MapType.RINGBUF, max_entries=1, key_type_id=3)
    outer = replace(data_map("outer", "", 4, type=MapType.ARRAY_OF_MAPS), inner=inner)
    settled = settle_map(outer, KERNEL, with_btf=True).inner
    assert settled is not None
    assert (settled.max_entries, settled.key_type_id) == (4096, 3)


@pytest.mark.parametrize(
    ("map_type", "flags", "total"),
    [
        (MapType.ARRAY, 0, 8000),
        (MapType.LRU_HASH, 0, 8000),
        (MapType.PERCPU_ARRAY, 0, 32000),
        (MapType.RINGBUF, 0, 1000),
        (MapType.HASH, MapFlags.NO_PREALLOC, 0),
        (MapType.ARENA, 0, 0),
    ],
)
def test_what_the_kernel_allocates_for_maps_is_bounded(map_type: MapType, flags: int, total: int) -> None:
    spec = data_map("big", "", 8, type=map_type, max_entries=1000, flags=flags)
    kernel = replace(KERNEL, nr_cpus=4)
    check_sizes([spec], kernel, Limits(map_bytes=total))
    if total:
        reason = f"maps of {total} bytes \\('big' has {total}\\), at most {total - 1} are made"
        with pytest.raises(LimitError, match=reason):
            check_sizes([spec], kernel, Limits(map_bytes=total - 1))

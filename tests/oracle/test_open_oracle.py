"""The same object opened by libbpf and by us: same maps, same programs."""

import mmap
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.libbpf_open import LibbpfMap, open_with_libbpf
from xdploaderd.errors import LoaderError
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import Dialect, MapSpec, ObjectSpec
from xdploaderd.uapi.bpf import MapType

BPF = Path(__file__).parents[1] / "bpf"
STRUCT_OPS = BPF / "std_struct_ops.bpf.o"
# libbpf 1.1 knows no arenas, and of struct_ops the section .struct_ops alone.
NEWER_OBJECTS = (BPF / "std_arena.bpf.o", STRUCT_OPS)
OBJECTS = sorted(
    path for path in BPF.rglob("*.o") if path not in NEWER_OBJECTS and not path.name.startswith("big_endian")
)
# Section names that libbpf 1.1 does not know yet, or that only we read by their prefix.
NEWER_SECTIONS = ("tc/", "tcx/", "netkit/", "netfilter", "sk_skb/verdict")

pytestmark = pytest.mark.oracle


def opened(path: Path) -> ObjectSpec | None:
    """Return the object as the standard reader sees it; None when it refuses."""
    try:
        return open_object(path.read_bytes(), name=path.name, dialect=Dialect.STANDARD)
    except LoaderError:
        return None


def ringbuf_entries(spec: MapSpec) -> int:
    """Return max_entries as libbpf shows it: ring buffers are rounded up to pages, doubling, when they are opened."""
    if spec.type not in (MapType.RINGBUF, MapType.USER_RINGBUF) or not spec.max_entries:
        return spec.max_entries
    size = mmap.PAGESIZE
    while size < spec.max_entries:
        size *= 2
    return size


def as_libbpf(spec: MapSpec) -> LibbpfMap:
    """Return our map in libbpf's terms; the .kconfig map's value is filled at load by both."""
    contents = None
    if spec.section and spec.section != ".kconfig":
        contents = spec.contents or bytes(spec.value_size)
    return LibbpfMap(
        spec.name,
        spec.type,
        spec.key_size,
        spec.value_size,
        ringbuf_entries(spec),
        spec.flags,
        spec.numa_node,
        spec.map_extra,
        spec.key_type_id,
        spec.value_type_id,
        bytes(spec.value_size) if spec.section == ".kconfig" else contents,
    )


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: str(path.relative_to(BPF)))
def test_both_read_the_same_maps_and_programs(path: Path) -> None:
    theirs, ours = open_with_libbpf(path), opened(path)
    assert (theirs is None) == (ours is None)
    if theirs is None or ours is None:
        return
    assert ours.name == theirs.name
    assert [as_libbpf(spec) for spec in ours.maps.values()] == list(theirs.maps)
    assert [
        (p.name, p.function.section.removeprefix("?"), p.autoload, len(p.function.insns) // INSN_SIZE)
        for p in ours.programs.values()
    ] == [(p.name, p.section.removeprefix("?"), p.autoload, p.insn_count) for p in theirs.programs]
    for mine, their in zip(ours.programs.values(), theirs.programs, strict=True):
        newer = mine.function.section.startswith(NEWER_SECTIONS)
        if mine.type_source == "section table" and not newer:
            assert (mine.type, mine.attach_type or 0) == (their.type, their.attach_type)
        else:
            assert their.type == 0


def test_struct_ops_map_is_read_as_libbpf_reads_it() -> None:
    theirs, ours = open_with_libbpf(STRUCT_OPS), opened(STRUCT_OPS)
    assert theirs is not None
    assert ours is not None
    (their,) = (spec for spec in theirs.maps if spec.type == MapType.STRUCT_OPS)
    mine = replace(ours.maps[their.name], value_type_id=0)  # libbpf 1.1 keeps the struct's id to itself
    assert as_libbpf(mine) == replace(their, contents=None)

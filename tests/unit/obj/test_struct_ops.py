"""struct_ops maps as the file says them, and as a kernel with another layout wants them."""

import sys
from dataclasses import replace

import pytest

from tests.builders.spec import btf_of, data_map, object_spec, target_kernel
from tests.support.loading import OBJECTS
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, BtfKind, Composite, Func, FuncProto, Int, Linkage, Member, Ref
from xdploaderd.errors import ObjectError, RelocationError
from xdploaderd.obj.ksyms import KernelType
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import leave_out_maps
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.spec import Need, ObjectSpec, PreparedObject
from xdploaderd.uapi.bpf import MapFlags, MapType, ProgType

U32 = Int("u32", 4, 0, 0, 32)
FLAGS = Member("flags", 1, 64, 0)
NAME = Member("name", 6, 512, 0)
FUNCTIONS = (Member("undo_cwnd", 4, 128, 0), Member("cong_avoid", 4, 192, 0), Member("ssthresh", 4, 256, 0))


def opened() -> ObjectSpec:
    path = OBJECTS / "std_struct_ops.bpf.o"
    return open_object(path.read_bytes(), name=path.name)


def kernel(
    *members: Member, wrapper: str = "bpf_struct_ops_tcp_congestion_ops", flags: Int = U32, size: int = 192
) -> Btf:
    """Return a kernel's BTF whose tcp_congestion_ops (type 7) has these members; its wrapper is type 8."""
    return btf_of(
        flags,
        Int("char", 1, 0, 0, 8),
        FuncProto(0, ()),
        Ref(BtfKind.PTR, "", 3),
        Func("f", 3, Linkage.GLOBAL),
        Array(2, 1, 16),
        Composite(BtfKind.STRUCT, "tcp_congestion_ops", 96, members),
        Composite(BtfKind.STRUCT, wrapper, size, (Member("common", 1, 0, 0), Member("data", 7, 512, 0))),
        name="vmlinux",
    )


def prepared(btf: Btf, obj: ObjectSpec | None = None) -> PreparedObject:
    return prepare(obj or opened(), target_kernel(btf))


def test_maps_are_read_with_their_programs_and_optional_ones_are_left_out() -> None:
    obj = opened()
    plain, spare, linked = (obj.maps[name] for name in ("plain_cc", "spare_cc", "linked_cc"))
    assert {plain.type, spare.type, linked.type} == {MapType.STRUCT_OPS}
    assert (plain.flags, linked.flags) == (0, MapFlags.LINK)
    assert (plain.autocreate, spare.autocreate, linked.autocreate) == (True, False, True)
    assert plain.slots == {1: "half", 2: "stay", 3: "keep"}
    assert (plain.contents or b"")[:8] == b"plain_cc"
    assert obj.programs["half"].type is ProgType.STRUCT_OPS
    assert target_needs(obj) == {Need.VMLINUX_BTF, Need.MODULE_BTF}


def test_members_and_programs_go_where_this_kernel_has_them() -> None:
    found = prepared(kernel(FLAGS, NAME, *FUNCTIONS))
    plain = found.maps["plain_cc"]
    assert (plain.value_size, plain.vmlinux_value_type_id, plain.value_type_id) == (192, 8, 0)
    contents = plain.contents or b""
    assert int.from_bytes(contents[64 + 8 : 64 + 12], sys.byteorder) == 2
    assert contents[64 + 64 : 64 + 80] == b"plain_cc".ljust(16, b"\0")
    assert plain.slots == {64 + 16: "keep", 64 + 24: "stay", 64 + 32: "half"}
    half = found.programs["half"]
    assert (half.attach_btf_id, half.operation) == (7, 4)


def test_programs_are_loaded_exactly_for_maps_that_are_created() -> None:
    btf = kernel(FLAGS, NAME, *FUNCTIONS)
    assert set(prepared(btf).programs) == {"half", "keep", "stay"}
    without = leave_out_maps(opened(), ["plain_cc", "linked_cc"])
    assert not prepared(btf, without).programs
    spare = replace(opened().maps["spare_cc"], autocreate=True)
    wanted = replace(opened(), maps={**opened().maps, "spare_cc": spare})
    assert set(prepared(btf, wanted).programs) == {"half", "keep", "never", "stay"}


@pytest.mark.parametrize(
    ("btf", "reason"),
    [
        (kernel(), "member 'name': kernel's struct has no such member"),
        (kernel(FLAGS, NAME), "member 'ssthresh': kernel's struct has no such member"),
        (kernel(Member("flags", 2, 64, 0), NAME, *FUNCTIONS), "member 'flags': has 4 bytes, the kernel's has 1"),
        (kernel(Member("flags", 4, 64, 0), NAME, *FUNCTIONS), "member 'flags': is a int, the kernel's is a ptr"),
        (kernel(Member("flags", 1, 64, 7), NAME, *FUNCTIONS), "member 'flags': is a bit field"),
        (kernel(FLAGS, NAME, *FUNCTIONS, wrapper="other"), "cannot be implemented by programs"),
        (kernel(FLAGS, NAME, *FUNCTIONS, size=65_537), "has 65537 bytes, want at most 65536"),
        (kernel(Member("flags", 1, 1 << 20, 0), NAME, *FUNCTIONS), "member 'flags': lies behind the 192 bytes"),
        (btf_of(U32, name="vmlinux"), "kernel has no struct 'tcp_congestion_ops'"),
    ],
)
def test_kernel_of_another_struct_is_told_by_map_and_member(btf: Btf, reason: str) -> None:
    with pytest.raises(RelocationError, match=r"map '(plain|linked)_cc'") as caught:
        prepared(btf)
    assert reason in str(caught.value)
    partly = prepare(opened(), target_kernel(btf), partial=True)
    assert {"plain_cc", "half"} <= set(partly.failed)


def test_program_of_another_type_and_program_of_no_map_are_refused() -> None:
    obj, btf = opened(), kernel(FLAGS, NAME, *FUNCTIONS)
    xdp = replace(obj, programs={**obj.programs, "half": replace(obj.programs["half"], type=ProgType.XDP)})
    with pytest.raises(ObjectError, match="map 'plain_cc' holds 'half', which is no program of section 'struct_ops'"):
        prepared(btf, xdp)
    maps = {name: spec for name, spec in obj.maps.items() if spec.type != MapType.STRUCT_OPS}
    with pytest.raises(ObjectError, match="prog 'half': no struct_ops map that is created holds it"):
        prepared(btf, replace(obj, maps=maps))


def test_struct_of_a_module_is_named_with_the_map_and_its_programs() -> None:
    base = btf_of(U32, name="vmlinux")
    other = kernel(FLAGS, NAME, *FUNCTIONS)
    found = prepare(opened(), target_kernel(base, other))
    assert found.maps["plain_cc"].value_module == other.name
    assert found.programs["half"].attach_module == other.name
    assert KernelType(found.programs["half"].attach_btf_id) == KernelType(7)


def test_struct_ops_map_of_an_object_without_types_is_refused() -> None:
    obj = object_spec(maps=[data_map("ops", "", 8, type=MapType.STRUCT_OPS)])
    with pytest.raises(RelocationError, match="map 'ops': is a struct_ops map, but the object has no BTF"):
        prepare(obj, target_kernel())
    assert prepare(obj, target_kernel(), partial=True).failed.keys() == {"ops"}

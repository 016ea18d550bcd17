"""Variables, sizes of maps and left-out maps, as a user sets them before the load."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.spec import EXIT_INSN, btf_of, data_map, load64, object_spec, program, target_kernel
from xdploaderd.btf.types import Array, BtfKind, BtfType, Datasec, Enum, Float, Int, Linkage, Ref, SecVar, Var
from xdploaderd.errors import OverrideError
from xdploaderd.insn import CALL, Insn, decode_insn
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import leave_out_maps, set_globals, set_max_entries, share_maps
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import DatasecLayout, MapRef, ObjectSpec

BPF = Path(__file__).parents[2] / "bpf"


def opened(name: str) -> ObjectSpec:
    return open_object((BPF / name).read_bytes(), name=name)


def section(obj: ObjectSpec, name: str) -> bytes:
    spec = next(spec for spec in obj.maps.values() if spec.section == name)
    return spec.contents if spec.contents is not None else bytes(spec.value_size)


def one_variable(*types: BtfType, size: int) -> ObjectSpec:
    """Return an object whose .bss is one variable `x` of the first type."""
    var, datasec = len(types) + 1, len(types) + 2
    btf = btf_of(*types, Var("x", 1, Linkage.GLOBAL), Datasec(".bss", size, (SecVar(var, 0, size),)))
    spec = replace(data_map("fw.bss", ".bss", size, value_type_id=datasec), contents=None)
    layout = DatasecLayout(name=".bss", size=size, offsets={"x": 0})
    return replace(object_spec(maps=[spec], btf=btf), datasecs={".bss": layout})


def stored(text: str, *types: BtfType, size: int) -> bytes:
    return section(set_globals(one_variable(*types, size=size), {"x": text}), ".bss")


def test_variables_of_a_compiled_object_are_set_where_the_symbols_say() -> None:
    obj = opened("std_globals.bpf.o")
    changed = set_globals(obj, {"limit": "99", "start": "0x10", "total": "5", "custom": "7", "banner": "world"})
    assert section(changed, ".data") != section(obj, ".data")
    assert struct.pack("=I", 0x10) in section(changed, ".data")
    assert struct.pack("=Q", 5) in section(changed, ".bss")
    assert section(changed, ".data.custom_long_name") == struct.pack("=I", 7)
    assert b"world\0" in section(changed, ".rodata")
    assert struct.pack("=I", 99) in section(changed, ".rodata")
    assert section(changed, ".rodata.cust") == section(obj, ".rodata.cust")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("42", 42), ("0x2a", 42), ("-1", -1), ("+7", 7), ("-2147483648", -(1 << 31)), ("007", 7)],
)
def test_signed_number_is_stored(text: str, expected: int) -> None:
    assert stored(text, Int("int", 4, 1, 0, 32), size=4) == struct.pack("=i", expected)


@pytest.mark.parametrize(("text", "expected"), [("true", 1), ("yes", 1), ("0", 0), ("false", 0)])
def test_truth_is_stored(text: str, expected: int) -> None:
    assert stored(text, Int("bool", 1, 4, 0, 8), size=1) == bytes([expected])


def test_enumerator_is_stored_by_name_and_by_number() -> None:
    mode = Enum(BtfKind.ENUM, "mode", 4, True, (("OFF", 0), ("DROP", -2)))
    assert stored("DROP", mode, size=4) == struct.pack("=i", -2)
    assert stored("5", mode, size=4) == struct.pack("=i", 5)


def test_text_fills_a_char_array_with_zeros_behind() -> None:
    chars = (Array(2, 3, 6), Int("char", 1, 1, 0, 8), Int("u32", 4, 0, 0, 32))
    assert stored("eth0", *chars, size=6) == b"eth0\0\0"
    assert stored("hex:02:00:00:00:00:01", *chars, size=6) == bytes([2, 0, 0, 0, 0, 1])


def test_float_and_volatile_types_are_stored() -> None:
    assert stored("0.5", Ref(BtfKind.VOLATILE, "", 2), Float("double", 8), size=8) == struct.pack("=d", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("256", "256 does not fit into 1 bytes, wanted a number from 0 to 255"),
        ("-1", "wanted a number from 0 to 255"),
        ("ten", "'ten' is no whole number"),
        ("", "is no whole number"),
        ("1_0", "is no whole number"),
        ("9" * 5000, "is no whole number"),
        ("hex:0011", "2 bytes are given, the variable has 1"),
        ("hex:0g", "is not two hex digits"),
    ],
)
def test_value_that_a_byte_cannot_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(OverrideError, match=message) as caught:
        stored(text, Int("u8", 1, 0, 0, 8), size=1)
    assert caught.value.place == ("object 'fw'", "global 'x'")


def test_text_too_long_for_its_array_is_refused() -> None:
    chars = (Array(2, 3, 4), Int("char", 1, 1, 0, 8), Int("u32", 4, 0, 0, 32))
    with pytest.raises(OverrideError, match="text of 4 bytes, at most 3 fit before the final NUL"):
        stored("eth0", *chars, size=4)


def test_type_that_does_not_fill_its_variable_is_refused() -> None:
    with pytest.raises(OverrideError, match="the variable has 2 bytes, and its type 8"):
        stored("1", Int("u64", 8, 0, 0, 64), size=2)


def test_pointer_is_set_by_bytes_alone() -> None:
    with pytest.raises(OverrideError, match=r"a ptr is set by its 8 bytes, as hex:0011\.\."):
        stored("1", Ref(BtfKind.PTR, "", 0), size=8)


def test_unknown_variable_is_refused_with_near_names() -> None:
    with pytest.raises(OverrideError, match="global 'limits': no such variable, did you mean 'limit'") as caught:
        set_globals(opened("std_globals.bpf.o"), {"limits": "1"})
    assert caught.value.fields["near"] == ["limit"]


def test_variable_of_the_kernels_configuration_is_not_the_users_to_set() -> None:
    with pytest.raises(OverrideError, match="no such variable"):
        set_globals(opened("std_externs.bpf.o"), {"LINUX_KERNEL_VERSION": "1"})


def test_object_without_btf_has_no_variables() -> None:
    with pytest.raises(OverrideError, match="has no BTF"):
        set_globals(object_spec(), {"x": "1"})


def test_map_gets_the_given_number_of_entries() -> None:
    changed = set_max_entries(opened("std_maps.bpf.o"), {"flows": 4096, "events": 9000})
    maps = prepare(changed, target_kernel()).maps
    assert (maps["flows"].max_entries, maps["events"].max_entries) == (4096, 16384)


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("flow", 1, "map 'flow' does not exist, did you mean 'flows'"),
        ("flows", 0, "0 entries, wanted a number from 1 to 4294967295"),
        ("flows", 1 << 32, "wanted a number from 1 to 4294967295"),
    ],
)
def test_number_of_entries_that_cannot_be_is_refused(name: str, entries: int, message: str) -> None:
    with pytest.raises(OverrideError, match=message):
        set_max_entries(opened("std_maps.bpf.o"), {name: entries})


def test_data_map_keeps_its_one_entry() -> None:
    obj = opened("std_globals.bpf.o")
    name = next(spec.name for spec in obj.maps.values() if spec.section == ".bss")
    with pytest.raises(OverrideError, match="is a data map"):
        set_max_entries(obj, {name: 2})


def test_map_left_out_is_not_created_and_its_uses_are_poisoned() -> None:
    obj = object_spec(
        program("p", [*load64(), *load64(), EXIT_INSN], [MapRef(0, "a"), MapRef(2, "b")]),
        maps=[data_map("a", "", 4), data_map("b", "", 4)],
    )
    prepared = prepare(leave_out_maps(obj, ["b"]), target_kernel())
    assert list(prepared.maps) == ["a"]
    assert prepared.programs["p"].fd_refs == (MapRef(0, "a"),)
    poison = Insn(CALL, 0, 0, 0, 2_001_000_001)
    assert [decode_insn(prepared.programs["p"].insns, slot) for slot in (2, 3)] == [poison, poison]


def test_map_is_shared_by_a_pin_of_any_name() -> None:
    shared = share_maps(opened("std_globals.bpf.o"), {".data.custom_long_name": "state"})
    assert shared.maps[".data.custom_long_name"].pin_path == "state"
    assert opened("xdp_count.bpf.o").maps["xdp_frames"].pin_path == ""


def test_map_that_is_not_there_cannot_be_shared() -> None:
    with pytest.raises(OverrideError, match="map 'xdp_frame' does not exist, did you mean 'xdp_frames'"):
        share_maps(opened("xdp_count.bpf.o"), {"xdp_frame": "frames"})
    with pytest.raises(OverrideError, match="map 'xdp_frames' is to be shared at no pin"):
        share_maps(opened("xdp_count.bpf.o"), {"xdp_frames": ""})

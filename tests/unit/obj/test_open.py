"""What open_object reads from compiled objects of both dialects."""

import hashlib
from pathlib import Path

import pytest

from xdploaderd.errors import ObjectError, WrongDialectError
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import target_needs
from xdploaderd.obj.spec import CallRef, DataRef, Dialect, MapRef, ObjectSpec
from xdploaderd.uapi.bpf import AttachType, MapType, ProgType

BPF = Path(__file__).parents[2] / "bpf"


def opened(name: str, dialect: Dialect | None = None) -> ObjectSpec:
    return open_object((BPF / name).read_bytes(), name=f"/some/where/{name}", dialect=dialect)


def test_standard_object_is_read_with_its_maps_in_address_order() -> None:
    obj = opened("std_maps.bpf.o")
    assert obj.dialect is Dialect.STANDARD
    assert obj.name == "std_maps"
    assert list(obj.maps) == [
        "first", "second", "outer", "jumps", "flows", "per_cpu", "recent", "events", "perf", "routes", "devices",
        "bloom", "std_maps.rodata",
    ]  # fmt: skip
    assert obj.maps["outer"].inner is not None
    assert obj.maps["outer"].inner.name == "outer.inner"


def test_map_values_name_maps_and_programs_by_slot() -> None:
    obj = opened("std_maps.bpf.o")
    assert obj.maps["outer"].slots
    assert set(obj.maps["outer"].slots.values()) <= set(obj.maps)
    assert "tail_target" in obj.maps["jumps"].slots.values()


def test_object_name_ends_at_the_first_dot_and_data_maps_carry_it() -> None:
    obj = opened("std_globals.bpf.o")
    assert list(obj.maps) == [
        "std_glob.rodata", "std_glob.data", ".data.custom_long_name", ".rodata.cust", "std_glob.bss",
    ]  # fmt: skip
    assert obj.maps[".data.custom_long_name"].kernel_name == ".data.custom_lo"
    assert obj.maps["std_glob.rodata"].freeze
    assert obj.maps["std_glob.rodata"].flags == 0x480
    assert not obj.maps["std_glob.data"].freeze
    assert obj.maps["std_glob.data"].flags == 0x400
    assert obj.maps["std_glob.bss"].contents is None


def test_program_refers_to_maps_and_data_by_name() -> None:
    obj = opened("std_globals.bpf.o")
    refs = [ref for ref in obj.programs["globals"].function.relocs if isinstance(ref, DataRef)]
    assert {ref.map_name for ref in refs} <= set(obj.maps)
    counted = opened("xdp_count.bpf.o").programs["xdp_count"]
    assert [ref.map_name for ref in counted.function.relocs if isinstance(ref, MapRef)] == ["xdp_frames"]


def test_every_call_names_the_start_of_a_subprogram() -> None:
    obj = opened("std_calls.bpf.o")
    functions = [program.function for program in obj.programs.values()] + list(obj.subprograms.values())
    callees = {ref.callee for function in functions for ref in function.relocs if isinstance(ref, CallRef)}
    assert callees
    assert callees <= set(obj.subprograms)


def test_section_gives_type_attach_type_and_autoload() -> None:
    obj = opened("std_sections.bpf.o")
    assert not obj.programs["optional"].autoload
    assert obj.programs["optional"].section == "xdp"
    assert obj.programs["optional"].type is ProgType.XDP
    assert obj.programs["by_prefix"].type_source == "section prefix"
    assert obj.programs["for_devmap"].attach_type is AttachType.XDP_DEVMAP
    assert [name for name in obj.programs if name.startswith("two_")] == ["two_a", "two_b"]


def test_section_maps_leads_to_the_legacy_reader() -> None:
    obj = opened("legacy_pin2.bpf.o")
    assert obj.dialect is Dialect.LEGACY
    assert "'maps'" in obj.why
    assert obj.maps["cnt"].pinning == 2
    assert obj.maps["cnt"].rule == "bpf_elf_map"


def test_legacy_object_is_refused_by_the_standard_reader_alone() -> None:
    with pytest.raises(WrongDialectError, match="section 'maps'"):
        opened("legacy_pin2.bpf.o", Dialect.STANDARD)


def test_both_reasons_are_told_when_both_readers_refuse() -> None:
    with pytest.raises(
        ObjectError, match=r"map 'cnt' is static.*read as legacy; not as standard, since section 'maps'"
    ):
        opened("invalid_legacy_static.bpf.o")


def test_maps_and_btf_maps_of_one_object_are_both_read() -> None:
    obj = opened("legacy_and_btf.bpf.o")
    assert obj.dialect is Dialect.LEGACY
    assert [(spec.name, spec.rule) for spec in obj.maps.values()] == [("old_map", "bpf_elf_map"), ("new_map", "btf")]


def test_tail_call_sections_fill_the_program_array_of_their_id() -> None:
    obj = opened("legacy_tail.bpf.o")
    assert obj.maps["jmp"].type == MapType.PROG_ARRAY
    assert obj.maps["jmp"].slots == {0: "tail_entry"}
    assert obj.maps["jmp"].legacy_id == 0xABC


def test_big_endian_object_opens_with_instructions_in_native_order() -> None:
    big, little = opened("big_endian.bpf.o"), opened("xdp_pass.bpf.o")
    assert (big.byteorder, little.byteorder) == ("big", "little")
    assert big.programs["xdp_pass"].function.insns == little.programs["xdp_pass"].function.insns


def test_big_endian_object_is_refused_before_a_kernel_is_asked() -> None:
    with pytest.raises(ObjectError, match="object is big-endian, want little-endian"):
        target_needs(opened("big_endian.bpf.o"))


def test_object_is_known_by_the_sha1_of_its_file() -> None:
    raw = (BPF / "xdp_pass.bpf.o").read_bytes()
    obj = open_object(raw, name="xdp_pass.bpf.o")
    assert [obj.sha1, obj.sha1] == [hashlib.sha1(raw).hexdigest()] * 2

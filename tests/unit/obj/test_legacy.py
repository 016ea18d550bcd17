"""iproute2's dialect: records of section `maps`, maps of maps, tail-call sections, and what is refused by name."""

import re
import struct
from dataclasses import replace

import pytest

from tests.builders.btf import U32, U64, blob_of, member
from tests.builders.btf import struct as btf_struct
from tests.builders.elf import RETURN_0, Rel, Sec, Sym, object_of, program
from tests.builders.legacy import LOAD_MAP, maps_of, record
from xdploaderd.btf.types import BtfType, Linkage, Var
from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.insn import CALL, EXIT, Insn, encode_insns
from xdploaderd.obj.elf import SymBind, SymType
from xdploaderd.obj.elf_sections import SHF_EXECINSTR
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import CallRef, Dialect, MapRef, ObjectSpec
from xdploaderd.obj.tail_calls import tail_call_slot
from xdploaderd.uapi.bpf import MapType


def opened(*parts: Sec | Sym | Rel | tuple[Sec, Sym]) -> ObjectSpec:
    return open_object(object_of(*parts).build(), name="legacy.o")


def refused(*parts: Sec | Sym | Rel | tuple[Sec, Sym]) -> str:
    with pytest.raises(ObjectError) as caught:
        opened(*parts)
    return str(caught.value)


ARRAY = record(MapType.ARRAY, 4, 8, 16, 0, 5, 2)


@pytest.mark.parametrize("size", [16, 20, 24, 28, 32, 36])
def test_shorter_records_are_prefixes_of_the_longest(size: int) -> None:
    spec = opened(*maps_of(cnt=record(2, 4, 8, 16, 1, 7, 2, 0, 0, size=size)), program("main")).maps["cnt"]
    assert (spec.type, spec.key_size, spec.value_size, spec.max_entries) == (2, 4, 8, 16)
    assert spec.flags == (1 if size >= 20 else 0)
    assert spec.legacy_id == (7 if size >= 24 else 0)
    assert spec.pinning == (2 if size >= 28 else 0)


@pytest.mark.parametrize(("size", "reason"), [(12, "12 bytes are too small"), (40, "40 bytes are newer")])
def test_records_of_other_sizes_are_refused(size: int, reason: str) -> None:
    assert reason in refused(*maps_of(cnt=ARRAY.ljust(40, b"\0")[:size]), program("main"))


def test_sixty_four_maps_are_read_and_one_more_is_refused() -> None:
    many = {f"m{number}": ARRAY for number in range(65)}
    assert "65 maps, at most 64" in refused(*maps_of(**many), program("main"))
    del many["m64"]
    assert len(opened(*maps_of(**many), program("main")).maps) == 64


def test_maps_stand_in_address_order_whatever_the_order_of_symbols() -> None:
    section, *symbols = maps_of(one=ARRAY, two=ARRAY, three=ARRAY)
    assert list(opened(section, *reversed(symbols), program("main")).maps) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("bind", "reason"),
    [(SymBind.LOCAL, "map 'two' is static"), (SymBind.WEAK, "map 'two' is weak"), (10, "map 'two' is not global")],
)
def test_static_and_weak_maps_are_refused_by_name(bind: int, reason: str) -> None:
    section, one, two = maps_of(one=ARRAY, two=ARRAY)
    assert isinstance(two, Sym)
    assert reason in refused(section, one, replace(two, bind=bind), program("main"))


def test_two_names_for_one_map_are_refused() -> None:
    section, one = maps_of(one=ARRAY)
    assert "maps 'one' and 'alias' are at the same place" in refused(
        section, one, Sym("alias", "maps", 0, 36, SymType.OBJECT), program("main")
    )


def test_records_of_two_sizes_are_refused_naming_the_misplaced_map() -> None:
    reason = refused(*maps_of(long=ARRAY, short=ARRAY[:28]), program("main"))
    assert "64 bytes for 2 maps, want records of one size ('short' is at byte 36)" in reason


def test_section_without_a_named_map_is_refused() -> None:
    assert "no symbol names a map" in refused(Sec("maps", ARRAY), program("main"))
    assert "two sections are named 'maps'" in refused(*maps_of(a=ARRAY), Sec("maps", ARRAY), program("main"))


def test_references_name_the_map_at_the_symbol() -> None:
    section, symbol = program("main", "prog", LOAD_MAP)
    obj = opened(*maps_of(one=ARRAY, two=ARRAY), section, symbol, Rel("prog", 0, "two"))
    assert obj.programs["main"].function.relocs == (MapRef(0, "two"),)


def test_outer_map_takes_the_shape_and_the_slots_of_its_inner_maps() -> None:
    maps = maps_of(
        outer=record(MapType.ARRAY_OF_MAPS, 4, 99, 8, 0, 0, 2, 42),
        first=record(MapType.ARRAY, 4, 8, 16, 0, 42, 0, 0, 3),
        second=record(MapType.ARRAY, 4, 8, 16, 0, 42, 0, 0, 5),
        template=record(MapType.ARRAY, 4, 8, 16, 0, 42, 0, 0, 0xFFFFFFFF),
    )
    outer = opened(*maps, program("main")).maps["outer"]
    assert outer.slots == {3: "first", 5: "second"}
    assert outer.value_size == 4
    assert outer.inner is not None
    assert (outer.inner.name, outer.inner.value_size, outer.inner.pinning) == ("outer.inner", 8, 0)


def test_inner_idx_is_the_key_of_a_hash_of_maps() -> None:
    maps = maps_of(outer=record(MapType.HASH_OF_MAPS, 4, 4, 2, 0, 0, 0, 42), inner=record(1, 4, 8, 16, 0, 42, 0, 0, 77))
    assert opened(*maps, program("main")).maps["outer"].slots == {77: "inner"}


@pytest.mark.parametrize(
    ("outer", "reason"),
    [
        (record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 0, 0), "map 'outer': holds maps, but has no inner_id"),
        (record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 0, 9), "map 'outer': no map has the inner_id 9"),
        (record(MapType.ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 0, 42), "inner map 'inner' wants slot 7 of 2"),
        (record(MapType.HASH_OF_MAPS, 8, 4, 9, 0, 0, 0, 42), "key has 8 bytes, want 4"),
        (record(MapType.ARRAY_OF_MAPS, 4, 4, 9, 0, 42, 0, 42), "inner map 'outer' holds maps itself"),
    ],
)
def test_outer_map_that_cannot_be_filled_is_refused(outer: bytes, reason: str) -> None:
    assert reason in refused(*maps_of(outer=outer, inner=record(2, 4, 8, 1, 0, 42, 0, 0, 7)), program("main"))


@pytest.mark.parametrize(
    ("section", "slot"),
    [
        ("0xabc/0", (0xABC, 0)),
        ("010/1", (8, 1)),
        ("0xabc/1zzz", (0xABC, 1)),
        (" 7/ 3", (7, 3)),
        ("-1/+2", (0xFFFFFFFF, 2)),
        ("4294967297/0", (1, 0)),
        ("09/1", None),
        ("7 /1", None),
        ("a/1", None),
        ("xdp", None),
        ("1/", None),
    ],
)
def test_tail_call_section_is_read_as_scanf_reads_it(section: str, slot: tuple[int, int] | None) -> None:
    assert tail_call_slot(section) == slot


JUMPS = record(MapType.PROG_ARRAY, 4, 4, 2, 0, 8)


def test_tail_call_section_fills_the_program_array_of_its_id() -> None:
    obj = opened(*maps_of(jmp=JUMPS), program("main", "classifier"), program("tail", "010/1"))
    assert obj.maps["jmp"].slots == {1: "tail"}


def test_section_without_a_program_array_of_its_id_is_passed_over() -> None:
    obj = opened(*maps_of(jmp=JUMPS), program("main", "classifier"), program("tail", "99/0"))
    assert not obj.programs["tail"].autoload
    assert obj.warnings == ("program 'tail' is passed over: no program array has its id",)


def test_key_outside_the_program_array_is_refused() -> None:
    reason = refused(*maps_of(jmp=JUMPS), program("main", "classifier"), program("tail", "8/5"))
    assert "section '8/5': key 5 is outside program array 'jmp' (id 8) of 2 entries" in reason


def test_two_programs_for_one_key_are_refused() -> None:
    reason = refused(*maps_of(jmp=JUMPS), program("one", "8/1"), program("two", "0x8/1"))
    assert "key 1 is taken by 'one'" in reason


def test_without_function_symbols_each_section_is_a_program() -> None:
    obj = opened(Sec("prog", RETURN_0, flags=SHF_EXECINSTR), Sec("classifier", RETURN_0, flags=SHF_EXECINSTR))
    assert obj.dialect is Dialect.LEGACY
    assert "no symbol says" in obj.why
    assert [(p.name, p.has_symbol) for p in obj.programs.values()] == [("prog", False), ("classifier", False)]


def test_object_without_programs_is_no_legacy_object() -> None:
    assert opened(Sec(".data", bytes(4))).dialect is Dialect.STANDARD


def test_empty_last_section_and_unused_text_do_no_harm() -> None:
    text = (Sec(".text", RETURN_0, flags=SHF_EXECINSTR), Sym("unused", ".text", 0, 16, SymType.FUNC))
    obj = opened(program("main", "prog"), text, Sec("empty"))
    assert set(obj.programs) == {"main"}
    assert obj.subprograms[0].name == "unused"


def test_calls_in_text_without_symbols_split_it_at_their_targets() -> None:
    call_second = encode_insns([Insn(CALL, 0, 1, 0, 1), Insn(EXIT, 0, 0, 0, 0)])
    obj = opened(
        Sec("prog", call_second, flags=SHF_EXECINSTR),
        Sec(".text", RETURN_0 * 2, flags=SHF_EXECINSTR),
        Sym("", ".text", type=SymType.SECTION, bind=SymBind.LOCAL),
        Rel("prog", 0, ""),
    )
    assert obj.programs["prog"].function.relocs == (CallRef(0, 2),)
    assert {start: len(function.insns) for start, function in obj.subprograms.items()} == {0: 16, 2: 16}


def test_license_of_128_bytes_is_taken_and_a_longer_one_refused() -> None:
    elf = object_of(*maps_of(cnt=ARRAY), program("main"))
    taken = open_object(elf.with_section("license", data=b"x" * 127 + b"\0").build(), name="t.o")
    assert len(taken.license) == 127
    with pytest.raises(ObjectError, match="license of 129 bytes, want at most 128"):
        open_object(elf.with_section("license", data=b"x" * 129).build(), name="t.o")


def with_btf(*types: BtfType) -> Sec:
    return Sec(".BTF", blob_of(types))


def test_annotated_key_and_value_types_are_taken_when_sizes_agree() -> None:
    pair = btf_struct("____btf_map_cnt", 16, member("key", 1), member("value", 2, 8))
    spec = opened(*maps_of(cnt=ARRAY, other=ARRAY), with_btf(U32, U64, pair), program("main")).maps
    assert (spec["cnt"].key_type_id, spec["cnt"].value_type_id) == (1, 2)
    assert (spec["other"].key_type_id, spec["other"].value_type_id) == (0, 0)
    wrong = btf_struct("____btf_map_cnt", 16, member("key", 2), member("value", 2, 8))
    assert opened(*maps_of(cnt=ARRAY), with_btf(U32, U64, wrong), program("main")).maps["cnt"].key_type_id == 0


def test_broken_btf_never_refuses_a_legacy_object() -> None:
    obj = opened(*maps_of(cnt=ARRAY), Sec(".BTF", b"\x9f\xeb" + bytes(10)), program("main"))
    assert obj.btf is None
    assert obj.warnings
    assert obj.warnings[0].startswith("BTF is not used: ")


def test_records_named_bpf_map_def_by_btf_are_read_as_libbpf_did() -> None:
    types = (U32, btf_struct("bpf_map_def", 28), Var("cnt", 2, Linkage.GLOBAL))
    maps = maps_of(cnt=record(2, 4, 8, 16, 1, size=28))
    spec = opened(*maps, with_btf(*types), program("main")).maps["cnt"]
    assert (spec.rule, spec.flags, spec.legacy_id, spec.pinning) == ("bpf_map_def", 1, 0, 0)
    reason = refused(*maps_of(cnt=record(2, 4, 8, 16, 1, 0, 2, size=28)), with_btf(*types), program("main"))
    assert "struct bpf_map_def has values behind byte 20" in reason


def test_bpf_map_def_of_another_size_or_with_members_of_iproute2_is_a_bpf_elf_map() -> None:
    types = (U32, btf_struct("bpf_map_def", 36), Var("cnt", 2, Linkage.GLOBAL))
    spec = opened(*maps_of(cnt=ARRAY), with_btf(*types), program("main")).maps["cnt"]
    assert (spec.rule, spec.pinning) == ("bpf_elf_map", 2)
    members = [
        member(name, 1, 4 * at) for at, name in enumerate(("type", "key", "value", "max", "flags", "id", "pinning"))
    ]
    types = (U32, btf_struct("bpf_map_def", 28, *members), Var("cnt", 2, Linkage.GLOBAL))
    spec = opened(*maps_of(cnt=ARRAY[:28]), with_btf(*types), program("main")).maps["cnt"]
    assert (spec.rule, spec.legacy_id, spec.pinning) == ("bpf_elf_map", 5, 2)


def goebpf(*words: int) -> bytes:
    """Return a record of 40 bytes: type, key, value, max, flags, padding, inner_map_def, persistent_path."""
    return struct.pack("<6I2Q", *words, *[0] * (8 - len(words)))


def test_record_of_40_bytes_has_its_inner_map_and_pin_from_relocations() -> None:
    section, *symbols = maps_of(
        outer=goebpf(MapType.ARRAY_OF_MAPS, 0, 0, 8),
        inner=goebpf(MapType.LPM_TRIE, 8, 4, 16, 0, 0, 0, 5),
    )
    path = (Sec(".rodata.str1.1", b"junk\0/sys/fs/bpf/deep/inner\0"), Sym("", ".rodata.str1.1", type=SymType.SECTION))
    obj = opened(section, *symbols, path, Rel("maps", 24, "inner", 2), Rel("maps", 72, "", 2), program("main"))
    outer, inner = obj.maps.values()
    assert (outer.rule, outer.key_size, outer.value_size, outer.slots) == ("goebpf", 4, 4, {})
    assert outer.inner is not None
    assert (outer.inner.name, outer.inner.type, outer.inner.pin_path) == ("outer.inner", MapType.LPM_TRIE, "")
    assert (inner.flags, inner.pin_path) == (1, "/sys/fs/bpf/deep/inner")
    assert "read as struct bpf_map_def (goebpf)" in obj.why


@pytest.mark.parametrize(
    ("raw", "relocs", "reason"),
    [
        (goebpf(2, 4, 8, 1, 0, 7), (), "40 bytes are newer"),
        (goebpf(2, 4, 8, 1, 0, 0, 8), (), "40 bytes are newer"),
        (goebpf(2, 4, 8, 1, 0, 0, 0, 8), (), "40 bytes are newer"),
        (goebpf(12, 4, 8, 1), (), "holds maps, but has no inner_map_def"),
        (goebpf(12, 4, 8, 1, 0, 0, 4), (Rel("maps", 24, "cnt", 2),), "holds maps, but has no inner_map_def"),
        (goebpf(12, 4, 8, 1), (Rel("maps", 24, "main", 2),), "inner_map_def leads to 'main'"),
        (goebpf(2, 4, 8, 1), (Rel("maps", 32, "open", 2),), "persistent_path is no text"),
        (goebpf(2, 4, 8, 1, 0, 0, 0, 1 << 63), (Rel("maps", 32, "main", 2),), "persistent_path is no text"),
    ],
)
def test_record_of_40_bytes_whose_pointers_lead_nowhere_is_refused(
    raw: bytes, relocs: tuple[Rel, ...], reason: str
) -> None:
    endless = (Sec(".rodata.str1.1", b"/sys"), Sym("open", ".rodata.str1.1"))
    assert reason in refused(*maps_of(cnt=raw), program("main"), *endless, *relocs)


def test_static_function_of_a_programs_own_section_is_linked_behind_it() -> None:
    call = encode_insns([Insn(CALL, 0, 1, 0, 1), Insn(EXIT, 0, 0, 0, 0)])
    section, _ = program("main", "classifier", call + RETURN_0)
    main = Sym("main", "classifier", 0, 16, SymType.FUNC)
    helper = Sym("helper", "classifier", 16, 16, SymType.FUNC, SymBind.LOCAL)
    obj = opened(section, main, helper)
    assert obj.dialect is Dialect.LEGACY
    assert "calls a static function of its own" in obj.why
    assert list(obj.programs) == ["main"]
    (key,) = obj.subprograms
    assert obj.programs["main"].function.relocs == (CallRef(0, key),)
    assert obj.subprograms[key].name == "helper"


def test_bpf_elf_map_named_by_btf_stays_one() -> None:
    types = (U32, btf_struct("bpf_elf_map", 36), Var("cnt", 2, Linkage.GLOBAL))
    spec = opened(*maps_of(cnt=ARRAY), with_btf(*types), program("main")).maps["cnt"]
    assert (spec.rule, spec.pinning) == ("bpf_elf_map", 2)


def test_too_many_maps_is_a_limit() -> None:
    with pytest.raises(LimitError, match=re.escape("at most 64")):
        opened(*maps_of(**{f"m{number}": ARRAY for number in range(65)}), program("main"))


def test_section_without_function_symbols_beside_one_with_is_a_program_too() -> None:
    call_itself = encode_insns([Insn(CALL, 0, 1, 0, 1), Insn(EXIT, 0, 0, 0, 0)]) + RETURN_0
    bare = (Sec("classifier", call_itself, flags=SHF_EXECINSTR), Sym("cls_main", "classifier"))
    obj = opened(*maps_of(cnt=ARRAY), program("main", "prog"), bare)
    assert [(p.name, p.has_symbol) for p in obj.programs.values()] == [("main", True), ("classifier", False)]
    assert obj.programs["classifier"].function.relocs == ()


def test_data_that_no_program_uses_makes_no_map_in_a_legacy_object() -> None:
    data = (Sec(".data", bytes(8)), Sec(".rodata.str1.1", b"text\0"), Sym("spare", ".data", 0, 8, SymType.OBJECT))
    assert list(opened(*maps_of(cnt=ARRAY), program("main", "prog"), *data).maps) == ["cnt"]

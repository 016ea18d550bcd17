"""Btf: lookups, sizes and the refusal of malformed blobs."""

import struct as packing
from array import array

import pytest

from tests.builders.btf import S32, U32, U64, blob_of, btf_of, member, ptr, split_btf, struct, typedef
from xdploaderd.btf.build import BtfBuilder, encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.index import RecordIndex
from xdploaderd.btf.records import columns, names_and_references
from xdploaderd.btf.types import (
    Array,
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Ref,
    SecVar,
    Var,
    Void,
)
from xdploaderd.errors import BtfError

ONE_OF_EACH: tuple[BtfType, ...] = (
    S32,
    ptr(1),
    Array(1, 1, 3),
    struct("s", 8, member("a", 1), member("b", 1, 4)),
    struct("bits", 4, Member("x", 1, 0, 5), Member("y", 1, 5, 27), kflag=True),
    Enum(BtfKind.ENUM, "e", 4, True, (("A", -1), ("B", 2))),
    Enum(BtfKind.ENUM, "unsigned_e", 4, False, (("C", 7),)),
    Enum(BtfKind.ENUM64, "e64", 8, False, (("BIG", (1 << 64) - 1),)),
    Enum(BtfKind.ENUM64, "s64", 8, True, (("NEG", -(1 << 40)),)),
    Fwd("f", union=True),
    typedef("t", 1),
    *(Ref(kind, "", 1) for kind in (BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT)),
    Ref(BtfKind.TYPE_TAG, "user", 1),
    FuncProto(1, (("arg", 1), ("", 2))),
    Func("fn", 16, 1),
    Var("v", 1, 1),
    Datasec(".data", 4, (SecVar(18, 0, 4),)),
    Float("double", 8),
    DeclTag("tag", 4, -1),
    DeclTag("member", 4, 1),
)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_kind_survives_encoding_and_decoding(byteorder: str) -> None:
    btf = btf_of(*ONE_OF_EACH, byteorder=byteorder)
    assert tuple(btf_type for _, btf_type in btf.types()) == ONE_OF_EACH
    assert btf.byteorder == byteorder
    assert len(btf) == len(ONE_OF_EACH) + 1
    assert btf.type_by_id(0) == Void()
    assert [btf.kind_of(i) for i in range(len(btf))] == [btf.type_by_id(i).kind for i in range(len(btf))]
    assert btf.name_of(4) == "s"


def test_split_blob_continues_ids_and_strings_of_its_base() -> None:
    base = btf_of(S32, struct("shared", 4, member("a", 1)), name="vmlinux")
    split = split_btf(base, struct("own", 8, member("n", 1), member("m", 2, 4)), struct("own___v2", 4))
    assert split.first_id == 3
    assert len(split) == 5
    assert split.type_by_id(1) == S32
    assert split.name_of(3) == "own"
    assert split.ids_by_essential_name("own", {BtfKind.STRUCT}) == (3, 4)
    assert split.ids_by_name("shared", {BtfKind.STRUCT}) == ()  # a base's types are the base's
    assert split.size_of(2) == 4


def test_split_blob_may_name_a_type_by_a_string_of_its_base() -> None:
    base = btf_of(struct("foo___x", 4), struct("foo", 4))
    builder = BtfBuilder(strings=base.strings, first_id=3)
    builder.add(struct("foo", 16))
    raw = builder.encode()
    header = packing.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 0)
    split = Btf.parse(header + raw[24:36], name="m", base=base)
    assert split.ids_by_name("foo", {BtfKind.STRUCT}) == (3,)
    assert split.ids_by_essential_name("foo", {BtfKind.STRUCT}) == (3,)


def test_trusted_blob_in_a_memoryview_answers_the_same() -> None:
    raw = blob_of(ONE_OF_EACH)
    trusted = Btf.parse(memoryview(raw), name="vmlinux", trusted=True)
    part = Btf.parse(memoryview(b"junk" + raw)[4:], name="part", trusted=True)
    assert trusted.ids_by_name("s", {BtfKind.STRUCT}) == part.ids_by_name("s", {BtfKind.STRUCT}) == (4,)
    assert list(trusted.types()) == list(part.types())


@pytest.mark.parametrize(
    ("type_id", "size"), [(1, 4), (2, 8), (3, 12), (4, 8), (8, 8), (11, 4), (12, 4), (18, 4), (19, 4), (20, 8), (21, 8)]
)
def test_sizes_follow_typedefs_arrays_and_tags(type_id: int, size: int) -> None:
    assert btf_of(*ONE_OF_EACH).size_of(type_id) == size


@pytest.mark.parametrize("type_id", [0, 10, 16, 17])
def test_void_forward_and_functions_have_no_size(type_id: int) -> None:
    with pytest.raises(BtfError, match="has no size"):
        btf_of(*ONE_OF_EACH).size_of(type_id)


def test_array_over_four_gigabytes_has_no_size() -> None:
    with pytest.raises(BtfError, match="want below 4 GiB"):
        btf_of(U64, Array(1, 1, 0xFFFFFFFF)).size_of(2)


def test_pointer_size_is_that_of_long() -> None:
    assert btf_of(S32).pointer_size == 8
    narrow = btf_of(ptr(0), S32.__class__("long unsigned int", 4, 0, 0, 32))
    assert narrow.pointer_size == 4
    assert narrow.size_of(1) == 4


@pytest.mark.parametrize(
    "cycle",
    [
        (typedef("a", 2), typedef("b", 1)),
        (Ref(BtfKind.CONST, "", 1),),
        (typedef("a", 1),),
        (Array(1, 1, 1),),
        (Array(2, 2, 1), Ref(BtfKind.CONST, "", 1)),
    ],
)
def test_reference_cycles_end_in_an_error(cycle: tuple[BtfType, ...]) -> None:
    btf = btf_of(*cycle)
    with pytest.raises(BtfError, match="32 steps"):
        btf.size_of(1)


def test_typedef_cycle_is_not_followed_for_ever() -> None:
    with pytest.raises(BtfError, match="chain of over 256"):
        btf_of(typedef("a", 2), typedef("b", 1)).skip_mods_and_typedefs(1)


def test_modifiers_and_typedefs_are_skipped() -> None:
    btf = btf_of(U32, typedef("u32", 1), Ref(BtfKind.CONST, "", 2), Ref(BtfKind.TYPE_TAG, "t", 3), ptr(4))
    assert btf.skip_mods_and_typedefs(4) == 1
    assert btf.skip_mods_and_typedefs(5) == 5


def _patched(raw: bytes, at: int, layout: str, *values: int) -> bytes:
    out = bytearray(raw)
    packing.pack_into(layout, out, at, *values)
    return bytes(out)


GOOD = blob_of((S32, struct("s", 4, member("a", 1))))
MALFORMED = {
    "empty": b"",
    "short": GOOD[:23],
    "magic": _patched(GOOD, 0, "<H", 0x1234),
    "version": _patched(GOOD, 2, "<B", 2),
    "flags": _patched(GOOD, 3, "<B", 1),
    "header length huge": _patched(GOOD, 4, "<I", 0xFFFFFFFF),
    "header length 8": _patched(GOOD, 4, "<I", 8),
    "type offset 2": _patched(GOOD, 8, "<I", 2),
    "type length huge": _patched(GOOD, 12, "<I", 0xFFFFFFFC),
    "type length unaligned": _patched(GOOD, 12, "<I", 41),
    "string offset huge": _patched(GOOD, 16, "<I", 0xFFFFFFFF),
    "string length huge": _patched(GOOD, 20, "<I", 0xFFFFFFFF),
    "no strings": _patched(GOOD, 20, "<I", 0),
    "strings without NUL": GOOD[:-1] + b"x",
    "kind 31": _patched(GOOD, 28, "<I", 31 << 24),
    "kind 0": _patched(GOOD, 28, "<I", 0),
    "record past the section": _patched(GOOD, 44, "<I", 4 << 24 | 2),
    "2^24 members": _patched(GOOD, 44, "<I", 4 << 24 | 0xFFFFFF),
    "member type 99999": _patched(GOOD, 56, "<I", 99999),
    "name outside": _patched(GOOD, 24, "<I", 5000),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_blob_is_refused(case: str) -> None:
    with pytest.raises(BtfError, match=r"^BTF 'x.o'") as caught:
        Btf.parse(MALFORMED[case], name="x.o")
    assert caught.value.code == "InvalidBtf"


def test_func_must_refer_to_a_prototype() -> None:
    with pytest.raises(BtfError, match="want a func_proto"):
        btf_of(S32, Func("f", 1, 1))


def test_names_with_control_characters_are_refused_where_they_are_read() -> None:
    btf = btf_of(struct("a\x1b[31m", 4))
    with pytest.raises(BtfError, match="unprintable"):
        btf.name_of(1)


def test_name_that_is_not_utf8_is_refused_where_it_is_read() -> None:
    btf = btf_of(struct("\udcff", 4))
    with pytest.raises(BtfError, match="UTF-8"):
        btf.type_by_id(1)


def test_header_of_32_bytes_is_taken_when_its_tail_is_zero() -> None:
    longer = _patched(GOOD[:24] + bytes(8) + GOOD[24:], 4, "<I", 32)
    assert list(Btf.parse(longer, name="x").types()) == list(Btf.parse(GOOD, name="x").types())
    unknown = _patched(GOOD[:24] + bytes(12) + b"\1\0\0\0" + GOOD[24:], 4, "<I", 40)
    with pytest.raises(BtfError, match="unknown fields"):
        Btf.parse(unknown, name="x")


def test_ids_outside_are_refused() -> None:
    for type_id in (3, -1, 1 << 40):
        with pytest.raises(BtfError, match="no type id"):
            Btf.parse(GOOD, name="x").type_by_id(type_id)


def test_struct_of_65535_members_and_50000_types_are_indexed() -> None:
    members = packing.pack("<III", 0, 0, 0) * 65535
    header = packing.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12 + len(members), 12 + len(members), 1)
    wide = header + packing.pack("<III", 0, BtfKind.STRUCT << 24 | 65535, 7) + members + b"\0"
    assert Btf.parse(wide, name="wide").size_of(1) == 7
    record = packing.pack("<III", 0, BtfKind.PTR << 24, 0)
    raw = packing.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12 * 50_000, 12 * 50_000, 1) + record * 50_000 + b"\0"
    assert len(Btf.parse(raw, name="many", trusted=True)) == 50_001


def test_rewriting_keeps_old_string_offsets() -> None:
    btf = btf_of(*ONE_OF_EACH)
    old = btf.strings
    types = [btf_type for _, btf_type in btf.types()]
    types[18] = Datasec(".data.other", 8, (SecVar(18, 4, 4),))
    rewritten = Btf.parse(encode_types(types, byteorder="little", strings=old), name="y")
    assert rewritten.strings.startswith(old)
    assert rewritten.type_by_id(19) == types[18]
    assert encode_types((t for _, t in btf.types()), byteorder="little", strings=old) == btf.raw


def test_name_without_end_in_sight_is_refused() -> None:
    btf = btf_of(Int("n" * 5000, 4, 0, 0, 32))
    with pytest.raises(BtfError, match="5000 characters, want at most 4096"):
        btf.type_by_id(1)
    with pytest.raises(BtfError, match="does not end within 65536 bytes"):
        btf_of(Int("n" * 70000, 4, 0, 0, 32)).name_of(1)


def test_string_stored_without_end_is_refused_soon() -> None:
    raw = bytearray(blob_of([U32]))
    strings = b"\0" + b"a\0" * 2000
    raw[20:24] = len(strings).to_bytes(4, "little")
    btf = Btf.parse(bytes(raw[:40]) + strings, name="twice")
    with pytest.raises(BtfError, match="stored over 1024 times"):
        btf.ids_by_name("a", {BtfKind.INT})


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("type_id", [4, 5])
def test_a_member_alone_is_the_one_of_the_whole_type(type_id: int, split: bool) -> None:
    whole = btf_of(*ONE_OF_EACH)
    asked = split_btf(whole, U32) if split else whole
    found = tuple(asked.member_at(type_id, index) for index in range(asked.member_count(type_id)))
    composite = whole.type_by_id(type_id)
    assert isinstance(composite, Composite)
    assert found == composite.members


def test_columns_of_a_blob_hold_what_its_records_hold() -> None:
    records = bytes(btf_of(*ONE_OF_EACH).records)
    words = array("I", records)
    offsets = RecordIndex(memoryview(records).cast("I"), 1).all_places()
    names, ids, protos = columns(words, offsets)
    one_by_one = [names_and_references(words, at) for at in offsets]
    assert sorted(names) == sorted(name for found, _ in one_by_one for name in found)
    assert sorted(ids) == sorted(type_id for _, found in one_by_one for type_id in found)
    assert protos == [16]


def test_typedefs_of_a_split_blob_lead_into_its_base() -> None:
    split = split_btf(btf_of(S32, typedef("a", 1)), typedef("b", 2))
    assert split.skip_mods_and_typedefs(3) == 1
    assert split.size_of(3) == 4

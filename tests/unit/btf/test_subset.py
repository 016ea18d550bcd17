"""What is left of a blob when a few types and members are kept."""

import pytest

from tests.builders.btf import S32, U64, bits, btf_of, member, ptr, struct
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.subset import Marks, subset
from xdploaderd.btf.types import Array, BtfKind, Enum, FuncProto, Ref
from xdploaderd.errors import BtfError

BLOB = btf_of(
    S32,
    struct("dropped", 8, member("x", 1)),
    ptr(2),
    struct(
        "kept", 64, member("gone", 1), member("to", 3, 8), bits("low", 1, 195, 3), member("list", 6, 32), kflag=True
    ),
    Enum(BtfKind.ENUM64, "big", 8, True, (("LOW", -5), ("HIGH", 1 << 40))),
    Array(1, 8, 4),
    FuncProto(3, (("arg", 4),)),
    U64,
)
INT, DROPPED, POINTER, KEPT, ENUM, ARRAY, PROTO, INDEX = range(1, 9)


def kept(*types: int, **members: int) -> Btf:
    marks = Marks(types)
    for index in members.values():
        marks.add_member(KEPT, index)
    return Btf.parse(subset(BLOB, marks), name="kept")


def test_members_keep_their_offsets_and_the_struct_its_size() -> None:
    left = kept(KEPT, INT, to=1, low=2)
    composite = left.type_by_id(2)
    assert composite == struct("kept", 64, member("to", 0, 8), bits("low", 1, 195, 3), kflag=True)


def test_struct_without_kept_bit_fields_is_written_without_the_flag() -> None:
    assert kept(KEPT, POINTER, to=1).type_by_id(2) == struct("kept", 64, member("to", 1, 8))


def test_offset_inside_a_byte_is_kept_where_no_member_says_its_bits() -> None:
    old_style = btf_of(S32, struct("old", 4, bits("b", 1, 3, 0)))
    marks = Marks({2})
    marks.add_member(2, 0)
    assert Btf.parse(subset(old_style, marks), name="kept").type_by_id(1) == struct(
        "old", 4, bits("b", 0, 3, 0), kflag=True
    )


def test_pointer_to_a_dropped_type_becomes_one_to_void() -> None:
    assert kept(POINTER).type_by_id(1) == Ref(BtfKind.PTR, "", 0)


def test_enums_arrays_and_prototypes_are_copied_and_renumbered() -> None:
    left = kept(ENUM, ARRAY, PROTO, INDEX)
    assert left.type_by_id(1) == BLOB.type_by_id(ENUM)
    assert left.type_by_id(2) == Array(0, 4, 4)
    assert left.type_by_id(3) == FuncProto(0, (("arg", 0),))


def test_strings_of_dropped_types_are_gone() -> None:
    assert b"dropped" not in kept(KEPT).raw
    assert b"gone" not in kept(KEPT).raw


def test_mark_that_is_no_type_is_refused() -> None:
    with pytest.raises(BtfError, match="no type id 99"):
        subset(BLOB, Marks({99}))


def test_nothing_marked_leaves_an_empty_blob() -> None:
    assert len(kept()) == 1

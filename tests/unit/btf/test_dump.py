"""decode_value: bytes of map keys and values as plain values."""

import struct as packing
import sys

import pytest

from tests.builders.btf import BOOL, CHAR, S32, U8, U32, U64, bits, btf_of, member, ptr, struct, typedef, union
from xdploaderd.btf import dump
from xdploaderd.btf.dump import JsonValue, decode_value
from xdploaderd.btf.types import (
    Array,
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    Enum,
    Float,
    Func,
    FuncProto,
    Member,
    Ref,
    SecVar,
    Var,
)
from xdploaderd.errors import BtfError

WEEK = Enum(BtfKind.ENUM, "week", 4, False, (("MON", 0), ("LATE", -1)))
SIGNED_WEEK = Enum(BtfKind.ENUM, "week", 4, True, (("MON", 0), ("SUN", -1)))
WIDE = Enum(BtfKind.ENUM64, "wide", 8, False, (("BIG", 1 << 40),))


@pytest.mark.parametrize(
    ("btf_type", "raw", "value"),
    [
        (U32, packing.pack("=I", 0xFFFFFFFF), 0xFFFFFFFF),
        (S32, packing.pack("=i", -7), -7),
        (U64, packing.pack("=Q", 1 << 63), 1 << 63),
        (BOOL, b"\1", True),
        (BOOL, b"\7", 7),
        (CHAR, b"\x80", -128),
        (Float("double", 8), packing.pack("=d", 1.5), 1.5),
        (Float("long double", 16), bytes(16), "00" * 16),
        (ptr(0), packing.pack("=Q", 0xFFFF888000000000), 0xFFFF888000000000),
        (WEEK, packing.pack("=I", 0), "MON"),
        (WEEK, packing.pack("=I", 0xFFFFFFFF), "LATE"),
        (WEEK, packing.pack("=I", 5), 5),
        (SIGNED_WEEK, packing.pack("=i", -1), "SUN"),
        (SIGNED_WEEK, packing.pack("=i", -5), -5),
        (WIDE, packing.pack("=Q", 1 << 40), "BIG"),
    ],
)
def test_single_values(btf_type: BtfType, raw: bytes, value: JsonValue) -> None:
    shown = decode_value(btf_of(btf_type), 1, raw)
    assert shown == value
    assert type(shown) is type(value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"eth0\0\0\0\0", "eth0"),
        (bytes(8), ""),
        (b"12345678", "12345678"),
        (b"a\0b\0\0\0\0\0", [97, 0, 98, 0, 0, 0, 0, 0]),
        (b"\xff\xfe\0\0\0\0\0\0", [-1, -2, 0, 0, 0, 0, 0, 0]),
        (b"\x1b[2J\0\0\0\0", [27, 91, 50, 74, 0, 0, 0, 0]),
    ],
)
def test_array_of_char_is_a_string_where_it_holds_text(raw: bytes, text: JsonValue) -> None:
    assert decode_value(btf_of(CHAR, typedef("c", 1), Array(2, 1, 8)), 3, raw) == text


def test_arrays_of_bytes_and_of_arrays_are_lists() -> None:
    btf = btf_of(U8, Array(1, 1, 6), U32, Array(3, 3, 2), Array(4, 3, 2))
    assert decode_value(btf, 2, bytes(range(6))) == [0, 1, 2, 3, 4, 5]
    assert decode_value(btf, 5, packing.pack("=4I", 1, 2, 3, 4)) == [[1, 2], [3, 4]]


def test_struct_shows_nested_and_anonymous_members() -> None:
    btf = btf_of(
        U32,
        struct("inner", 4, member("x", 1)),
        union("", 4, member("addr", 1), member("net", 2)),
        struct("outer", 12, member("in", 2), member("", 3, 4), member("end", 1, 8)),
        typedef("outer_t", 4),
    )
    shown = decode_value(btf, 5, packing.pack("=3I", 1, 2, 3))
    assert shown == {"in": {"x": 1}, "addr": 2, "net": {"x": 2}, "end": 3}


def test_bit_fields_are_cut_out_of_their_bytes() -> None:
    btf = btf_of(
        U32,
        S32,
        BOOL,
        SIGNED_WEEK,
        struct(
            "s",
            4,
            bits("a", 1, 0, 3),
            bits("b", 2, 3, 4),
            bits("flag", 3, 7, 1),
            bits("day", 4, 8, 8),
            bits("e", 1, 16, 16),
            kflag=True,
        ),
    )
    word = 5 | 0b1111 << 3 | 1 << 7 | 0xFF << 8 | 0xBEEF << 16
    raw = word.to_bytes(4, "little")
    if sys.byteorder == "little":
        assert decode_value(btf, 5, raw) == {"a": 5, "b": -1, "flag": True, "day": "SUN", "e": 0xBEEF}


def test_data_section_shows_its_variables() -> None:
    btf = btf_of(U32, Var("hits", 1, 1), Var("misses", 1, 0), Datasec(".bss", 8, (SecVar(2, 0, 4), SecVar(3, 4, 4))))
    assert decode_value(btf, 4, packing.pack("=2I", 7, 9)) == {"hits": 7, "misses": 9}


def test_value_of_another_size_is_refused() -> None:
    with pytest.raises(BtfError, match="has 4 bytes, the value 8"):
        decode_value(btf_of(U32), 1, bytes(8))


@pytest.mark.parametrize(
    "types",
    [
        (Composite(BtfKind.STRUCT, "s", 4, (Member("self", 1, 0, 0),)),),
        (struct("empty", 0), Array(1, 1, 0xFFFFFFFF), struct("s", 4, member("many", 2))),
        (U64, struct("s", 4, member("too_long", 1))),
        (U64, struct("s", 4, bits("f", 1, 0, 40), kflag=True)),
        (U8, struct("s", 4, Member("odd", 1, 3, 0))),
        (U64, Var("v", 1, 1), Datasec(".data", 4, (SecVar(2, 0, 8),))),
        (FuncProto(0, ()), Func("f", 1, 1), Datasec(".ksyms", 4, (SecVar(2, 0, 0),))),
        (Ref(BtfKind.TYPEDEF, "loop", 1),),
    ],
)
def test_types_that_lie_about_their_layout_end_in_an_error(
    types: tuple[BtfType, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "MAX_VALUES", 1000)
    btf = btf_of(*types)
    with pytest.raises(BtfError):
        decode_value(btf, len(types), bytes(4))


def test_elements_without_bytes_are_counted_as_often_as_they_are_shown() -> None:
    btf = btf_of(struct("empty", 0), U32, Array(1, 2, 49_998), Array(3, 2, 2), Array(3, 2, 3))
    assert decode_value(btf, 4, b"") == [[{}] * 49_998] * 2
    with pytest.raises(BtfError, match="has over 100000 parts"):
        decode_value(btf, 5, b"")

"""Access strings, the walk through local types, and libbpf's notation."""

import pytest

from tests.builders.btf import S32, U32, U64, bits, btf_of, member, ptr, struct, typedef, union
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.btf.types import Array, BtfKind, BtfType, Enum
from xdploaderd.errors import CoreRelocationError, LoaderError
from xdploaderd.relo_core.spec import format_spec, parse_spec

FIELD, ENUMERATOR, TYPE = CoreReloKind.FIELD_BYTE_OFFSET, CoreReloKind.ENUMVAL_VALUE, CoreReloKind.TYPE_EXISTS
TYPES = btf_of(
    U32,
    struct("in", 8, member("x", 1), member("y", 1, 4)),
    union("", 8, member("u", 1), member("", 2)),
    Array(1, 1, 4),
    Array(4, 1, 2),
    Array(1, 1, 0),
    struct(
        "s", 64, member("a", 1), member("", 3, 8), member("grid", 5, 16), member("in", 2, 48), member("flex", 6, 56)
    ),
    typedef("s_t", 7),
    struct("fixed", 8, member("none", 6), member("end", 1, 4)),
    Enum(BtfKind.ENUM, "e", 4, False, (("A", 1), ("B", -1))),
    Enum(BtfKind.ENUM, "se", 4, True, (("N", -1),)),
    Enum(BtfKind.ENUM64, "e64", 8, False, (("BIG", 1 << 63),)),
    struct("bits", 8, bits("f", 1, 3, 5), kflag=True),
    ptr(7),
)
STRUCT, TYPEDEF, FIXED, ENUM, SIGNED_ENUM, ENUM64, BITS, PTR = 7, 8, 9, 10, 11, 12, 13, 14


def spec_text(kind: int, type_id: int, access: str, btf: Btf = TYPES) -> str:
    return format_spec(parse_spec(btf, CoreRelo(0, type_id, access, kind)))


@pytest.mark.parametrize(
    ("type_id", "access", "text"),
    [
        (STRUCT, "0", "[7] struct s (0 @ offset 0)"),
        (STRUCT, "3", "[7] struct s[3] (3 @ offset 192)"),
        (STRUCT, "0:0", "[7] struct s.a (0:0 @ offset 0)"),
        (STRUCT, "2:0", "[7] struct s[2].a (2:0 @ offset 128)"),
        (STRUCT, "0:1:0", "[7] struct s.u (0:1:0 @ offset 8)"),
        (STRUCT, "0:1:1:1", "[7] struct s.y (0:1:1:1 @ offset 12)"),
        (STRUCT, "0:2:1:3", "[7] struct s.grid[1][3] (0:2:1:3 @ offset 44)"),
        (STRUCT, "0:2:1", "[7] struct s.grid[1] (0:2:1 @ offset 32)"),
        (STRUCT, "0:3:1", "[7] struct s.in.y (0:3:1 @ offset 52)"),
        (STRUCT, "0:4:100", "[7] struct s.flex[100] (0:4:100 @ offset 456)"),
        (TYPEDEF, "0:0", "[8] typedef s_t.a (0:0 @ offset 0)"),
        (BITS, "0:0", "[13] struct bits.f (0:0 @ offset 0.3)"),
        (STRUCT, "01:00", "[7] struct s[1].a (1:0 @ offset 64)"),
        (PTR, "1", "[14] ptr <anon>[1] (1 @ offset 8)"),
    ],
)
def test_fields_are_found_by_their_access_string(type_id: int, access: str, text: str) -> None:
    assert spec_text(FIELD, type_id, access) == f"<byte_off> {text}"


@pytest.mark.parametrize(
    ("type_id", "access", "text"),
    [
        (ENUM, "0", "[10] enum e::A = 1"),
        (ENUM, "1", "[10] enum e::B = 4294967295"),
        (SIGNED_ENUM, "0", "[11] enum se::N = -1"),
        (ENUM64, "0", "[12] enum64 e64::BIG = 9223372036854775808"),
    ],
)
def test_enumerators_are_shown_with_their_value(type_id: int, access: str, text: str) -> None:
    assert spec_text(ENUMERATOR, type_id, access) == f"<enumval_value> {text}"


def test_types_are_shown_by_name() -> None:
    assert spec_text(TYPE, STRUCT, "0") == "<type_exists> [7] struct s"
    assert spec_text(TYPE, 3, "0") == "<type_exists> [3] union <anon>"


@pytest.mark.parametrize(
    "access",
    ["", ":0", "0:", "0::1", "-1", "a", "0x1", "0:-1", "+1", "0 1", "0:1\n", "٣", "99999999999", ":".join(["0"] * 65)],
)
@pytest.mark.parametrize("kind", [FIELD, ENUMERATOR])
def test_malformed_access_string_is_refused(kind: CoreReloKind, access: str) -> None:
    with pytest.raises(CoreRelocationError, match="access string"):
        spec_text(kind, ENUM if kind is ENUMERATOR else STRUCT, access)


@pytest.mark.parametrize(
    ("kind", "type_id", "access"),
    [
        (FIELD, STRUCT, "0:5"),  # no such member
        (FIELD, STRUCT, "0:2:2"),  # behind the array
        (FIELD, STRUCT, "0:0:0"),  # into a number
        (FIELD, FIXED, "0:0:1"),  # array of size 0 that is not the last member
        (FIELD, PTR, "0:0"),  # through a pointer
        (FIELD, 0, "0"),  # void has no size
        (FIELD, STRUCT, "4294967295:0"),  # 256 GiB from the start
        (FIELD, 99, "0"),  # no such type
        (ENUMERATOR, ENUM, "2"),
        (ENUMERATOR, ENUM, "0:0"),
        (ENUMERATOR, STRUCT, "0"),
        (TYPE, STRUCT, "0:1"),
        (TYPE, STRUCT, "1"),
        (TYPE, STRUCT, ""),
        (CoreReloKind.TYPE_MATCHES, STRUCT, "0:1"),
        (TYPE, 99, "0"),
        (13, STRUCT, "0"),
        (0xFFFFFFFF, STRUCT, "0"),
    ],
)
def test_access_that_the_types_do_not_have_is_refused(kind: int, type_id: int, access: str) -> None:
    with pytest.raises(LoaderError):
        spec_text(kind, type_id, access)


def test_array_outside_a_struct_is_never_flexible() -> None:
    with pytest.raises(CoreRelocationError, match="no element 1"):
        spec_text(FIELD, 2, "0:1", btf_of(S32, Array(1, 1, 0)))


def test_nesting_of_64_levels_is_the_limit() -> None:
    deep: list[BtfType] = [U64, *(struct("", 8, member("", level)) for level in range(1, 70))]
    assert len(parse_spec(btf_of(*deep), CoreRelo(0, 70, ":".join(["0"] * 64), FIELD)).raw) == 64

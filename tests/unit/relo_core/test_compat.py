"""Compatibility of types and fields, and bpf_core_type_matches()."""

import pytest

from tests.builders.btf import BOOL, CHAR, S32, U32, U64, btf_of, member, ptr, struct, typedef, union
from xdploaderd.btf.types import Array, BtfKind, BtfType, Enum, Float, FuncProto, Fwd, Int, Ref
from xdploaderd.errors import CoreRelocationError
from xdploaderd.relo_core.budget import Budget
from xdploaderd.relo_core.compat import fields_are_compatible, types_are_compatible, types_match

Types = tuple[BtfType, ...]
E = Enum(BtfKind.ENUM, "e", 4, False, (("A", 1), ("B", 2)))
E64 = Enum(BtfKind.ENUM64, "e", 8, False, (("A", 1),))
OLD_BITS = Int("int", 4, 1, 3, 5)
INT_PTR: Types = (S32, ptr(1))


@pytest.mark.parametrize(
    ("local", "target", "compatible"),
    [
        ((S32,), (U64,), True),  # size and sign do not matter
        ((CHAR,), (BOOL,), True),
        ((S32,), (OLD_BITS,), False),
        ((struct("a", 4),), (struct("b", 8),), True),
        ((struct("a", 4),), (union("a", 4),), False),
        ((struct("a", 4),), (Fwd("a", union=False),), False),
        ((E,), (E64,), True),
        ((E,), (S32,), False),
        (INT_PTR, (U64, ptr(1)), True),
        (INT_PTR, (struct("a", 4), ptr(1)), False),
        (INT_PTR, (S32, ptr(0)), False),
        ((ptr(0),), (ptr(0),), True),
        ((S32, Array(1, 1, 3)), (S32, Array(1, 1, 9)), True),
        ((S32, Array(1, 1, 3)), (E, Array(1, 1, 3)), False),
        ((S32, typedef("t", 1)), (S32, typedef("u", 1)), True),
        ((S32, typedef("t", 1)), (S32,), False),  # the kinds at the root have to agree
        ((S32, typedef("t", 1)), (S32, Ref(BtfKind.CONST, "", 1), typedef("t", 2)), True),
        ((S32, FuncProto(1, (("a", 1), ("b", 1)))), (S32, FuncProto(1, (("a", 1),))), False),
        ((S32, FuncProto(1, (("a", 1),))), (S32, FuncProto(0, (("a", 1),))), False),
        ((S32, FuncProto(1, (("a", 1),))), (U64, FuncProto(1, (("x", 1),))), True),
        ((S32, FuncProto(1, (("a", 1),))), (S32, E, FuncProto(1, (("a", 2),))), False),
        ((Float("double", 8),), (Float("double", 8),), False),
    ],
)
def test_types_are_compatible_by_shape(local: Types, target: Types, compatible: bool) -> None:
    assert types_are_compatible(btf_of(*local), len(local), btf_of(*target), len(target)) is compatible


@pytest.mark.parametrize(
    ("local", "target", "compatible"),
    [
        ((struct("a", 4),), (union("b", 8),), True),
        ((S32,), (U64,), True),
        ((S32,), (OLD_BITS,), False),
        ((CHAR,), (BOOL,), True),
        ((S32,), (ptr(0),), False),
        ((S32,), (Float("double", 8),), False),
        ((Float("float", 4),), (Float("double", 8),), True),
        ((E,), (S32,), False),
        ((ptr(0),), (S32, ptr(1)), True),
        ((E,), (Enum(BtfKind.ENUM64, "e___v2", 8, False, ()),), True),
        ((E,), (Enum(BtfKind.ENUM, "other", 4, False, ()),), False),
        ((E,), (Enum(BtfKind.ENUM, "", 4, False, ()),), True),
        ((Fwd("f", union=False),), (Fwd("f", union=True),), True),
        ((Fwd("f", union=False),), (Fwd("g", union=False),), False),
        ((S32, Array(1, 1, 3)), (U64, Array(1, 1, 9)), True),
        ((S32, Array(1, 1, 3)), (ptr(0), Array(1, 1, 3)), False),
        ((S32, typedef("t", 1)), (U32, Ref(BtfKind.CONST, "", 1)), True),
        ((FuncProto(0, ()),), (FuncProto(0, ()),), False),
    ],
)
def test_fields_are_compatible_by_kind(local: Types, target: Types, compatible: bool) -> None:
    assert fields_are_compatible(btf_of(*local), len(local), btf_of(*target), len(target)) is compatible


def named(name: str, *values: str, size: int = 4) -> Enum:
    return Enum(BtfKind.ENUM, name, size, False, tuple((value, number) for number, value in enumerate(values)))


ANONYMOUS: Types = (S32, struct("", 4, member("a", 1)), struct("s", 4, member("", 2)))
TWO_ANONYMOUS: Types = (
    S32,
    struct("", 4, member("b", 1)),
    struct("", 4, member("a", 1)),
    struct("s", 8, member("", 2), member("", 3, 4)),
)
LONG = Int("long", 8, 1, 0, 64)


@pytest.mark.parametrize(
    ("local", "target", "matches"),
    [
        ((named("e", "A"),), (named("e", "B", "A"),), True),  # a subset, in any order, with any values
        ((named("e", "A", "B"),), (named("e", "A"),), False),
        ((named("e", "A", "C"),), (named("e", "A", "B"),), False),
        ((named("e", "A"),), (named("e", "A", size=8),), False),
        ((named("e", "A___x"),), (named("e___y", "A___z"),), True),
        ((S32,), (S32,), True),
        ((S32,), (LONG,), False),
        ((S32,), (Int("int", 8, 1, 0, 64),), False),
        ((S32,), (Int("int", 4, 0, 0, 32),), False),
        ((S32, struct("s", 4, member("a", 1))), (S32, struct("s", 8, member("b", 1), member("a", 1, 4))), True),
        ((S32, struct("s", 4, member("a", 1))), (S32, struct("s", 4, member("b", 1))), False),
        ((S32, struct("s", 4, member("a", 1))), (LONG, struct("s", 8, member("a", 1))), False),
        ((S32, struct("s", 4, member("a", 1))), (S32, union("s", 4, member("a", 1))), False),
        ((S32, struct("s", 8, member("a", 1), member("b", 1))), (S32, struct("s", 4, member("a", 1))), False),
        ((S32, ptr(1)), (S32, ptr(1)), True),
        ((S32, ptr(1), ptr(2)), (S32, ptr(1)), False),
        ((struct("s", 4), ptr(1)), (Fwd("s", union=False), ptr(1)), True),
        ((struct("s", 4), ptr(1)), (Fwd("s", union=True), ptr(1)), False),
        ((Fwd("s", union=False), ptr(1)), (struct("s", 4), ptr(1)), True),
        ((Fwd("s", union=True), ptr(1)), (struct("s", 4), ptr(1)), False),
        ((Fwd("s", union=True), ptr(1)), (union("s", 4), ptr(1)), True),
        ((Fwd("s", union=False), ptr(1)), (Fwd("s", union=False), ptr(1)), True),
        ((Fwd("s", union=False),), (struct("s", 4),), False),
        ((Fwd("s", union=False),), (Fwd("s", union=True),), False),
        ((S32, struct("s", 4, member("a", 1)), ptr(2)), (struct("s", 4), ptr(1)), True),  # bodies behind pointers
        ((struct("s", 4), ptr(1)), (union("s", 4), ptr(1)), False),
        ((S32, Array(1, 1, 3)), (S32, Array(1, 1, 3)), True),
        ((S32, Array(1, 1, 3)), (S32, Array(1, 1, 4)), False),
        ((S32, FuncProto(1, (("a", 1),))), (S32, FuncProto(1, (("z", 1),))), True),
        ((S32, FuncProto(1, (("a", 1),))), (S32, FuncProto(1, ())), False),
        ((S32, FuncProto(1, (("a", 1),))), (S32, LONG, FuncProto(1, (("a", 2),))), False),
        ((S32, FuncProto(1, ())), (S32, FuncProto(0, ())), False),
        ((ptr(0),), (ptr(0),), True),
        (ANONYMOUS, TWO_ANONYMOUS, True),
        ((S32, struct("named", 4, member("a", 1))), (S32, struct("", 4, member("a", 1))), False),
        ((Float("float", 4),), (Float("float", 4),), False),
    ],
)
def test_types_match_by_name_and_layout(local: Types, target: Types, matches: bool) -> None:
    assert types_match(btf_of(*local), len(local), btf_of(*target), len(target)) is matches


def test_chain_of_pointers_over_32_levels_is_refused() -> None:
    chain = btf_of(*(ptr(level) for level in range(40)))
    assert types_are_compatible(chain, 31, chain, 31)
    for compare in (types_are_compatible, types_match):
        with pytest.raises(CoreRelocationError, match="nested over 32 levels"):
            compare(chain, 40, chain, 40)


def test_functions_of_functions_end_in_bounded_time() -> None:
    doubling = btf_of(S32, *(FuncProto(1, (("a", level), ("b", level))) for level in range(1, 30)))
    for compare in (types_are_compatible, types_match):
        with pytest.raises(CoreRelocationError, match="steps"):
            compare(doubling, 30, doubling, 30, Budget(1000))


def test_wide_structs_are_matched_in_linear_time() -> None:
    wide = btf_of(S32, struct("s", 4, *(member(f"m{number}", 1) for number in range(2000))))
    turned = btf_of(S32, struct("s", 4, *(member(f"m{number}", 1) for number in reversed(range(2000)))))
    assert types_match(wide, 2, turned, 2, Budget(3000))


def test_struct_that_contains_itself_is_refused() -> None:
    endless = btf_of(struct("s", 4, member("self", 1)))
    with pytest.raises(CoreRelocationError, match="nested over 32 levels"):
        types_match(endless, 1, endless, 1)

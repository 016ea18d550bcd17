"""sanitize_types: what becomes of each kind on a kernel that does not know it."""

import pytest

from tests.builders.btf import S32, blob_of, btf_of, typedef
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.sanitize import PLACEHOLDER, sanitize_types
from xdploaderd.btf.types import (
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Int,
    Member,
    Ref,
    SecVar,
    Var,
)
from xdploaderd.uapi.bpf import Feature, FeatureSet

TYPES: tuple[BtfType, ...] = (
    S32,
    Var("counter", 1, 1),
    Datasec(".data.x", 4, (SecVar(2, 0, 4),)),
    Datasec("?.struct_ops", 4, (SecVar(2, 4, 4),)),
    FuncProto(1, (("ctx", 1),)),
    Func("prog", 5, 1),
    Float("double", 8),
    DeclTag("tag", 2, -1),
    Ref(BtfKind.TYPE_TAG, "user", 1),
    Enum(BtfKind.ENUM, "e", 4, True, (("A", -1),)),
    Enum(BtfKind.ENUM64, "wide", 8, False, (("B", 1 << 40), ("C", 2))),
)
ALL = frozenset(Feature)


def sanitized(features: FeatureSet) -> tuple[BtfType, ...]:
    """Return what becomes of TYPES."""
    edit = BtfEdit(btf_of(*TYPES))
    sanitize_types(edit, features)
    return tuple(btf_type for _, btf_type in Btf.parse(edit.encode(), name="sanitized").types())


def test_kernel_that_knows_all_gets_the_types_as_they_are() -> None:
    assert sanitized(ALL) == TYPES


@pytest.mark.parametrize(
    ("missing", "changed"),
    [
        (
            Feature.BTF_DATASEC,
            {
                1: Int("counter", 1, 0, 0, 8),
                2: Composite(BtfKind.STRUCT, "_data_x", 4, (Member("counter", 2, 0, 0),)),
                3: Composite(BtfKind.STRUCT, "__struct_ops", 4, (Member("counter", 2, 32, 0),)),
            },
        ),
        (Feature.BTF_QMARK_DATASEC, {3: Datasec("_.struct_ops", 4, (SecVar(2, 4, 4),))}),
        (
            Feature.BTF_FUNC,
            {4: Enum(BtfKind.ENUM, "", 4, False, (("ctx", 1),)), 5: typedef("prog", 5)},
        ),
        (Feature.BTF_GLOBAL_FUNC, {5: Func("prog", 5, 0)}),
        (Feature.BTF_FLOAT, {6: Composite(BtfKind.STRUCT, "", 8, ())}),
        (Feature.BTF_DECL_TAG, {7: Int("tag", 1, 0, 0, 8)}),
        (Feature.BTF_TYPE_TAG, {8: Ref(BtfKind.CONST, "", 1)}),
        (
            Feature.BTF_ENUM64,
            {
                9: Enum(BtfKind.ENUM, "e", 4, False, (("A", -1),)),
                10: Composite(BtfKind.UNION, "wide", 8, (Member("B", 12, 0, 0), Member("C", 12, 0, 0))),
                11: PLACEHOLDER,
            },
        ),
    ],
)
def test_types_a_kernel_lacks_are_replaced_and_no_others(missing: Feature, changed: dict[int, BtfType]) -> None:
    got = sanitized(ALL - {missing})
    assert {i: t for i, t in enumerate(got) if i >= len(TYPES) or t != TYPES[i]} == changed


def test_oldest_kernel_gets_only_kinds_of_the_first_version() -> None:
    got = sanitized(frozenset())
    assert {t.kind for t in got} <= set(BtfKind) - set(range(BtfKind.FUNC, BtfKind.ENUM64 + 1))
    Btf.parse(blob_of(got), name="old")


def test_ids_keep_their_meaning() -> None:
    btf = btf_of(*sanitized(frozenset()))
    assert len(btf) == len(TYPES) + 2
    assert btf.name_of(2) == "counter"

"""Small BTF blobs, each of one feature that kernels learned over time (libbpf features.c)."""

import sys
from collections.abc import Iterable

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import (
    BtfKind,
    BtfType,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Int,
    IntEncoding,
    Linkage,
    Ref,
    SecVar,
    Var,
)
from xdploaderd.uapi.bpf import Feature

_INT = Int("int", 4, IntEncoding.SIGNED, 0, 32)  # always type 1
_VAR = Var("x", 1, Linkage.STATIC)
_PROTO = FuncProto(0, (("a", 1),))


def _datasec(name: str) -> tuple[BtfType, ...]:
    return (_VAR, Datasec(name, 4, (SecVar(2, 0, 4),)))


# What follows the int, as types 2, 3, ...
_TYPES: dict[Feature, tuple[BtfType, ...]] = {
    Feature.BTF: (),
    Feature.BTF_FUNC: (_PROTO, Func("x", 2, Linkage.STATIC)),
    Feature.BTF_GLOBAL_FUNC: (_PROTO, Func("x", 2, Linkage.GLOBAL)),
    Feature.BTF_DATASEC: _datasec(".data"),
    Feature.BTF_QMARK_DATASEC: _datasec("?.data"),
    Feature.BTF_FLOAT: (Float("float", 4),),
    Feature.BTF_DECL_TAG: (_VAR, DeclTag("tag", 2, -1)),
    Feature.BTF_TYPE_TAG: (Ref(BtfKind.TYPE_TAG, "tag", 1), Ref(BtfKind.PTR, "", 2)),
    Feature.BTF_ENUM64: (Enum(BtfKind.ENUM64, "", 8, False, ()),),
}
BTF_FEATURES = tuple(_TYPES)


def probe_blob(feature: Feature) -> bytes:
    """Return a blob that only kernels with this feature take."""
    return _encode((_INT, *_TYPES[feature]))


def arg_ctx_blob() -> bytes:
    """Return functions 4 and 6: `int a(void *a)`, and `int b(void *b)` with its parameter tagged as the context."""
    proto, tag = FuncProto(1, (("a", 2),)), DeclTag("arg:ctx", 6, 0)
    functions = (proto, Func("a", 3, Linkage.GLOBAL), proto, Func("b", 5, Linkage.GLOBAL))
    return _encode((_INT, Ref(BtfKind.PTR, "", 0), *functions, tag))


def blob_of_all() -> bytes:
    """Return one blob with every feature, so that a recent kernel is asked once instead of nine times."""
    return _encode(
        (
            _INT,
            Var("x", 1, Linkage.STATIC),
            Datasec("?.data", 4, (SecVar(2, 0, 4),)),
            FuncProto(0, (("a", 1),)),
            Func("f", 4, Linkage.GLOBAL),
            Float("float", 4),
            DeclTag("tag", 2, -1),
            Ref(BtfKind.TYPE_TAG, "tag", 1),
            Ref(BtfKind.PTR, "", 8),
            Enum(BtfKind.ENUM64, "", 8, False, ()),
        )
    )


def _encode(types: Iterable[BtfType]) -> bytes:
    builder = BtfBuilder()
    for btf_type in types:
        builder.add(btf_type)
    return builder.encode(sys.byteorder)

"""BTF: what is encoded decodes to the same, and hostile bytes give a BtfError or a Btf and nothing else."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.btf import S32, U32, bits, blob_of, btf_of, member, ptr, struct, typedef
from xdploaderd.btf import search
from xdploaderd.btf.build import encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.dump import decode_value
from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.ext import CoreRelo, CoreReloKind, parse_btf_ext
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.sanitize import sanitize_types
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
)
from xdploaderd.errors import BtfError, LoaderError
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver

pytestmark = pytest.mark.property
T = TypeVar("T")
MAX_TYPES = 12
PROTO = 1  # the first type of every generated blob, for FUNC to refer to

names = st.one_of(
    st.text(st.characters(codec="utf-8", categories=("L", "Nd", "Pc")), max_size=6), st.text("_ab", max_size=9)
)
words = st.integers(0, 0xFFFFFFFF)
ids = st.integers(0, MAX_TYPES)
s32 = st.integers(-(1 << 31), (1 << 31) - 1)


def _rows(*columns: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.tuples(*columns), max_size=4).map(tuple)


def _made(shape: Callable[..., T], *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Return values of the shape; st.builds() would fill the fields of named tuples that have defaults, too."""
    return st.tuples(*fields).map(lambda values: shape(*values))


plain_members = st.lists(_made(Member, names, ids, words, st.just(0)), max_size=4).map(tuple)
bit_members = st.lists(_made(Member, names, ids, st.integers(0, 0xFFFFFF), st.integers(0, 255)), max_size=4).map(tuple)
composite_kinds = st.sampled_from([BtfKind.STRUCT, BtfKind.UNION])
types = st.one_of(
    _made(Int, names, words, st.integers(0, 15), st.integers(0, 255), st.integers(0, 255)),
    _made(Float, names, words),
    _made(
        Ref,
        st.sampled_from(
            [BtfKind.PTR, BtfKind.TYPEDEF, BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT, BtfKind.TYPE_TAG]
        ),
        names,
        ids,
        st.booleans(),
    ),
    _made(Array, ids, ids, words),
    _made(Composite, composite_kinds, names, words, plain_members, st.just(False)),
    _made(Composite, composite_kinds, names, words, bit_members, st.just(True)),
    _made(Enum, st.just(BtfKind.ENUM), names, words, st.booleans(), _rows(names, s32)),
    _made(Enum, st.just(BtfKind.ENUM64), names, words, st.just(False), _rows(names, st.integers(0, (1 << 64) - 1))),
    _made(
        Enum, st.just(BtfKind.ENUM64), names, words, st.just(True), _rows(names, st.integers(-(1 << 63), (1 << 63) - 1))
    ),
    _made(Fwd, names, st.booleans()),
    _made(Func, names, st.just(PROTO), st.integers(0, 2)),
    _made(FuncProto, ids, _rows(names, ids)),
    _made(Var, names, ids, st.integers(0, 2)),
    _made(Datasec, names, words, st.lists(_made(SecVar, ids, words, words), max_size=4).map(tuple)),
    _made(DeclTag, names, ids, s32, st.booleans()),
)
blobs = st.lists(types, min_size=MAX_TYPES - 1, max_size=MAX_TYPES - 1).map(lambda rest: [FuncProto(0, ()), *rest])


@given(blobs, st.sampled_from(["little", "big"]))
def test_decoding_gives_back_what_was_encoded(listed: list[BtfType], byteorder: str) -> None:
    btf = Btf.parse(encode_types(listed, byteorder=byteorder), name="x")
    assert [btf_type for _, btf_type in btf.types()] == listed


@given(blobs)
def test_names_found_are_the_names_decoded(listed: list[BtfType]) -> None:
    btf = Btf.parse(encode_types(listed, byteorder="little"), name="x")
    kinds = frozenset(BtfKind)
    for name in {t.name for t in listed if t.name} | {"a", "b", "a_", "a___b"}:
        assert btf.ids_by_name(name, kinds) == tuple(i for i, t in btf.types() if t.name == name)
        wanted = essential_name(name)
        expected = tuple(i for i, t in btf.types() if t.name and essential_name(t.name) == wanted)
        assert btf.ids_by_essential_name(wanted, kinds) == expected


def _use(btf: Btf) -> None:
    """Ask everything; only BtfError may come of it."""
    questions: tuple[Callable[[int], object], ...] = (
        btf.type_by_id,
        btf.size_of,
        btf.skip_mods_and_typedefs,
        btf.name_of,
        btf.kind_of,
        lambda type_id: decode_value(btf, type_id, bytes(8)),
    )
    for type_id in range(min(len(btf), 50)):
        for ask in questions:
            with contextlib.suppress(BtfError):
                ask(type_id)
    with contextlib.suppress(BtfError):
        edit = BtfEdit(btf)
        sanitize_types(edit, frozenset())
        Btf.parse(edit.encode(), name="sanitized")


@given(st.binary(max_size=200))
def test_random_bytes_give_an_error_or_a_blob(raw: bytes) -> None:
    with contextlib.suppress(BtfError):
        _use(Btf.parse(raw, name="x"))
    with contextlib.suppress(BtfError):
        parse_btf_ext(raw, btf_of(S32))


@given(blobs, st.data(), st.booleans())
def test_damaged_blobs_give_an_error_or_a_blob(listed: list[BtfType], data: st.DataObject, trusted: bool) -> None:
    raw = bytearray(encode_types(listed, byteorder="little"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BtfError):
        _use(Btf.parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]), name="x", trusted=trusted))
    with contextlib.suppress(BtfError):
        _use(Btf.parse(bytes(raw), name="x", trusted=trusted))


TARGET = btf_of(
    S32,
    U32,
    struct("s", 16, member("a", 1), member("", 4, 4), bits("f", 2, 96, 3), kflag=True),
    struct("", 8, member("b", 5)),
    ptr(3),
    typedef("a", 3),
    name="vmlinux",
)


@settings(max_examples=200)
@given(blobs, st.integers(0, 14), ids, st.text("0123456789:", max_size=8))
def test_core_records_give_an_error_or_a_decision(listed: list[BtfType], kind: int, type_id: int, access: str) -> None:
    local = Btf.parse(
        encode_types([*listed, struct("s", 8, member("a", 1), member("b", 2, 4))], byteorder="little"), name="x"
    )
    for root in (type_id, len(local) - 1):
        for target in (TARGET, local):
            with contextlib.suppress(LoaderError):
                decision = CoreResolver(local, [target]).resolve(
                    CoreRelo(0, root, access, kind), CorePlace("p", "xdp", 0, 0)
                )
                assert decision.kind is CoreReloKind(kind)
                assert 0 <= decision.value.new < 1 << 64


@given(st.text("ab", max_size=40), st.text("ab", min_size=1, max_size=4), st.integers(0, 45), st.integers(0, 45))
def test_search_by_parts_finds_what_bytes_find(text: str, sub: str, start: int, end: int) -> None:
    raw, needle = text.encode(), sub.encode()
    end = min(end, len(raw))
    with mock.patch.object(search, "FIRST_CHUNK", 2), mock.patch.object(search, "LAST_CHUNK", 3):
        parts = search.ChunkedSearch(memoryview(raw))
        assert parts.find(needle, start, end) == raw.find(needle, start, end)
        assert parts.rfind(needle, start, end) == raw.rfind(needle, start, end)
        assert parts[start:end] == raw[start:end]


@given(st.lists(types, min_size=1, max_size=3))
def test_blob_of_dangling_references_is_refused_unless_trusted(listed: list[BtfType]) -> None:
    raw = blob_of([FuncProto(0, ()), *listed, ptr(99)])
    with pytest.raises(BtfError):
        Btf.parse(raw, name="x")
    _use(Btf.parse(raw, name="x", trusted=True))

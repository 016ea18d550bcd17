"""Values of any BTF type: the bytes that are shown are the bytes that are read back."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.btf import BOOL, CHAR, S32, U8, U32, U64, bits, btf_of, member, struct, union
from xdploaderd.btf.dump import decode_value
from xdploaderd.btf.encode import encode_value
from xdploaderd.btf.types import Array, BtfKind, Composite, Enum, Ref
from xdploaderd.errors import BtfError, ConfigError
from xdploaderd.obj.map_document import Document, EntryShape, read_entries
from xdploaderd.uapi.bpf import MapType

pytestmark = pytest.mark.property

# [1] u32 [2] s32 [3] u64 [4] u8 [5] char [6] bool [7] enum [8] u8[6] [9] char[8] [10] void * [11] union [12] anonymous
# [13] bit fields [14] all of them, without a byte between
TYPES = btf_of(
    U32,
    S32,
    U64,
    U8,
    CHAR,
    BOOL,
    Enum(BtfKind.ENUM, "verdict", 4, True, (("DROP", -1), ("ABORT", 0), ("PASS", 2))),
    Array(4, 1, 6),
    Array(5, 1, 8),
    Ref(BtfKind.PTR, "", 0),
    union("both", 8, member("word", 1), member("long_word", 3), member("bytes", 4)),
    Composite(BtfKind.STRUCT, "", 8, (member("inner", 1), member("verdict", 7, 4))),
    struct("packed", 4, bits("low", 1, 0, 3), bits("signed_part", 2, 3, 13), bits("kind", 7, 16, 16), kflag=True),
    struct(
        "all",
        60,
        member("number", 3),
        member("label", 9, 8),
        member("both", 11, 16),
        member("", 12, 24),
        member("packed", 13, 32),
        member("mac", 8, 36),
        member("flag", 6, 42),
        member("byte", 4, 43),
        member("pointer", 10, 44),
        member("below", 2, 52),
        member("letter", 5, 56),
        member("more", 4, 57),
        member("last", 4, 58),
        member("end", 4, 59),
    ),
)
ALL, SIZE = 14, 60
TYPE_IDS = st.integers(1, ALL)


@given(TYPE_IDS, st.data())
def test_bytes_shown_as_json_are_read_back(type_id: int, data: st.DataObject) -> None:
    size = TYPES.size_of(type_id)
    raw = data.draw(st.binary(min_size=size, max_size=size))
    shown = json.loads(json.dumps(decode_value(TYPES, type_id, raw)))
    assert encode_value(TYPES, type_id, shown) == raw


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["number", "label", "both", "word", "packed", "low", "inner", "verdict", "mac", "x"]), inner
    ),
    max_leaves=8,
), TYPE_IDS)  # fmt: skip
def test_any_json_becomes_bytes_of_the_type_or_a_typed_error(value: object, type_id: int) -> None:
    with contextlib.suppress(ConfigError):
        assert len(encode_value(TYPES, type_id, value)) == TYPES.size_of(type_id)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_typed_error(raw: bytes) -> None:
    shape = EntryShape(type=MapType.HASH, key_size=4, value_size=4, max_entries=4)
    with contextlib.suppress(ConfigError):
        read_entries(Document("f", raw), shape)


@given(
    st.dictionaries(
        st.binary(min_size=4, max_size=4), st.binary(min_size=5, max_size=5).map(bytes), max_size=8
    ),
    st.integers(1, 4),
)  # fmt: skip
def test_documents_of_hex_and_of_bpftool_are_read_alike(entries: dict[bytes, bytes], cpus: int) -> None:
    plain = EntryShape(type=MapType.HASH, key_size=4, value_size=5, max_entries=8)
    ours = {"map": {"id": 1}, "entries": [{"key": k.hex(" "), "value": v.hex(":")} for k, v in entries.items()]}
    theirs = [{"key": _listed(k), "value": _listed(v), "formatted": {"key": 1}} for k, v in entries.items()]
    read = read_entries(Document("ours", json.dumps(ours).encode()), plain)
    assert dict(read) == entries
    assert read_entries(Document("theirs", json.dumps(theirs).encode()), plain) == read
    per_cpu = EntryShape(type=MapType.PERCPU_HASH, key_size=4, value_size=5, max_entries=8, cpus=tuple(range(cpus)))
    spread = [
        {"key": _listed(k), "values": [{"cpu": c, "value": _listed(v)} for c in range(cpus)]}
        for k, v in entries.items()
    ]
    found = read_entries(Document("per cpu", json.dumps(spread).encode()), per_cpu)
    assert dict(found) == {k: (v + bytes(3)) * cpus for k, v in entries.items()}


def _listed(raw: bytes) -> list[str]:
    return [f"0x{byte:02x}" for byte in raw]


def test_types_nested_in_themselves_end() -> None:
    btf = btf_of(struct("loop", 4, *[member("", 1)] * 9))
    with pytest.raises(BtfError, match="nested"):
        encode_value(btf, 1, {})

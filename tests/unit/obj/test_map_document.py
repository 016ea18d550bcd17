"""What is wrong with a file of map entries is told with its place, before anything is written."""

import json

import pytest

from tests.builders.btf import CHAR, S32, U8, U32, btf_of, member, struct, union
from xdploaderd.btf.types import Array, BtfKind, Enum
from xdploaderd.errors import ConfigError
from xdploaderd.obj.map_document import Document, Entry, EntryShape, read_entries
from xdploaderd.uapi.bpf import MapType

BTF = btf_of(
    U32,
    S32,
    U8,
    CHAR,
    Array(4, 1, 4),
    Enum(BtfKind.ENUM, "verdict", 4, False, (("DROP", 1), ("PASS", 2))),
    union("either", 4, member("port", 3), member("address", 1)),
    struct("rule", 20, member("number", 1), member("below", 2, 4), member("name", 5, 8), member("verdict", 6, 12),
           member("match", 7, 16)),
)  # fmt: skip
RULES = EntryShape(type=MapType.HASH, key_size=4, value_size=20, max_entries=3, btf=BTF, key_type_id=1, value_type_id=8)
PLAIN = EntryShape(type=MapType.ARRAY, key_size=4, value_size=2, max_entries=2)
PER_CPU = EntryShape(type=MapType.PERCPU_ARRAY, key_size=4, value_size=2, max_entries=2, cpus=(0, 1))


def read(value: object, shape: EntryShape = RULES) -> tuple[Entry, ...]:
    """Read a document made of a JSON value."""
    return read_entries(Document("rules.json", json.dumps(value).encode()), shape)


def test_members_left_out_are_zero_and_names_stand_for_numbers() -> None:
    value = {"name": "dns", "verdict": "PASS", "match": {"port": 53}, "number": "0x10", "below": -1}
    (entry,) = read([{"key": 7, "value": value}])
    assert entry.key == (7).to_bytes(4, "little")
    assert entry.value == bytes([16, 0, 0, 0, 255, 255, 255, 255]) + b"dns\0" + bytes([2, 0, 0, 0, 53, 0, 0, 0])
    assert read([{"key": 7, "value": {}}])[0].value == bytes(20)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"number": 1 << 32},
            "value: member 'number': 4294967296 does not fit into 32 bits, wanted a number from 0 to",
        ),
        ({"below": "x"}, "value: member 'below': 'x' is no whole number"),
        ({"number": 1.5}, "value: member 'number': '1.5' is no whole number"),
        ({"name": "too long"}, "value: member 'name': text of 8 bytes, at most 4 fit"),
        ({"name": [1, 2]}, "value: member 'name': a list of 2 is given, wanted one of 4"),
        ({"name": [1, 2, 3, 300]}, "value: member 'name': element 3: 300 does not fit into 8 bits"),
        ({"verdict": "PAS"}, "value: member 'verdict': 'PAS' is no name of the enumeration, did you mean 'PASS'?"),
        ({"match": {"port": 1, "address": 2}}, "value: member 'match': member 'address': contradicts another member"),
        ({"numbr": 1}, "value: there is no member 'numbr', did you mean 'number'?"),
        ([1], "value: a list is given, wanted an object with members"),
        ("00", "value: 1 bytes are given, wanted 20"),
        (None, "value: null is given, wanted an object with members"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_its_place(value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read([{"key": 0, "value": {}}, {"key": 1, "value": value}])
    assert str(caught.value).startswith(f"file 'rules.json': line 1: entry 1: {said}")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (7, "is neither a list of entries nor an object that has one as 'entries'"),
        ({"entries": 7}, "is neither a list of entries nor an object that has one as 'entries'"),
        ([7], "line 1: entry 0: is no object with 'key' and 'value'"),
        ([{"value": {}}], "line 1: entry 0: key: is missing"),
        ([{"key": 1}], "line 1: entry 0: value: is missing"),
        ([{"key": 1, "values": [{"cpu": 0, "value": {}}]}], "line 1: entry 0: value: is missing"),
        ([{"key": 1, "value": {}, "valu": 1}], "line 1: entry 0: has 'valu', wanted only 'key' and 'value' or"
                                               " 'values'"),
        ([{"key": 1, "error": "unreadable"}], "line 1: entry 0: has 'error', wanted only 'key' and 'value' or 'values'"
                                              ": 'unreadable'"),
        ([{"key": 1, "value": {}}, {"key": "0x1", "value": {}}], "line 1: entry 1 has the key of entry 0"),
        ([{"key": k, "value": {}} for k in range(4)], "4 entries, the map has room for 3"),
    ],
)  # fmt: skip
def test_malformed_document_is_refused(document: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(document)
    assert str(caught.value) == f"file 'rules.json': {said}"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1: is no JSON: expecting value"),
        (b"[1,\n]", "line 2, column 1: is no JSON: expecting value"),
        (b"\xff", "is no UTF-8 at byte 0"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "holds a number of too many digits"),
        (b'[{"key": 1, "key": 2}]', "an object has 'key' twice"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_entries(Document("rules.json", raw), RULES)
    assert str(caught.value) == f"file 'rules.json': {said}"


def test_map_without_types_takes_hexadecimal_digits() -> None:
    assert read([{"key": "01 00 00 00", "value": "beef"}], PLAIN) == (Entry(b"\x01\0\0\0", b"\xbe\xef"),)
    assert read([{"key": [1, 0, 0, 0], "value": "hex:be:ef"}], PLAIN) == (Entry(b"\x01\0\0\0", b"\xbe\xef"),)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"key": "02 00 00 00", "value": "0000"}, "line 1: entry 0: key: there is no element 2, the map has 2"),
        ({"key": "020000", "value": "0000"}, "line 1: entry 0: key: 3 bytes are given, wanted 4"),
        ({"key": [0, 0, 0, 256], "value": "0000"}, "line 1: entry 0: key: a byte in the list is not from 0 to 255"),
        (
            {"key": "00000000", "value": "0g"},
            "line 1: entry 0: value: '0g' is no text of two hexadecimal digits for each byte",
        ),
    ],
)
def test_bytes_that_do_not_fit_are_refused(item: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read([item], PLAIN)
    assert str(caught.value) == f"file 'rules.json': {said}"


def test_one_value_goes_to_every_cpu_and_a_cpu_without_one_has_zeros() -> None:
    assert read([{"key": "00000000", "value": "0102"}], PER_CPU)[0].value == b"\x01\x02" + bytes(
        6
    ) + b"\x01\x02" + bytes(6)
    values = [{"cpu": 1, "value": "0304"}]
    assert read([{"key": "00000000", "values": values}], PER_CPU)[0].value == bytes(8) + b"\x03\x04" + bytes(6)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([{"cpu": 2, "value": "0000"}], "CPU 2: this machine has none such, its CPUs are 0 to 1"),
        ([{"cpu": 0, "value": "0000"}] * 2, "CPU 0: has two values"),
        ([{"cpu": 0}], "CPU 0: is missing"),
        ("0000", "is no list of objects with 'cpu' and 'value'"),
        ([{"value": "0000"}], "is no list of objects with 'cpu' and 'value'"),
    ],
)
def test_values_of_cpus_that_do_not_fit_are_refused(values: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read([{"key": "00000000", "values": values}], PER_CPU)
    assert str(caught.value) == f"file 'rules.json': line 1: entry 0: values: {said}"


@pytest.mark.parametrize("type_", [MapType.QUEUE, MapType.RINGBUF, MapType.PROG_ARRAY, MapType.HASH_OF_MAPS])
def test_map_that_holds_no_plain_entries_is_refused(type_: MapType) -> None:
    with pytest.raises(ConfigError, match=f"a map of type {type_.name.lower()} takes no entries from a file"):
        read([], EntryShape(type=type_, key_size=4, value_size=4, max_entries=1))

"""Entries of a map as a JSON document: what `map dump --json` and `bpftool -j map dump` print, read back into bytes.

Pure, and whole: every entry is checked before the first one is given out.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.encode import encode_value, hex_bytes
from xdploaderd.errors import BtfError, ConfigError, error_context
from xdploaderd.obj.json_lines import line_of
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import MapType, enum_name

HEX = "hex:"
LIST = "entries"  # the member of a document that is an object
SLOT = 8  # bytes that each CPU's value is rounded up to
PER_CPU = frozenset(
    {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE_DEPRECATED}
)
ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.DEVMAP, MapType.CPUMAP})
FILLABLE = ARRAYS | {
    MapType.HASH,
    MapType.PERCPU_HASH,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE,
    MapType.DEVMAP_HASH,
}
_KEYS = {"key", "value", "values", "key_bytes", "value_bytes", "formatted"}


class Entry(NamedTuple):
    """One entry as bpf(2) takes it: of a per-CPU map `value` has a slot for each CPU, rounded up to 8 bytes."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a file of entries, and what it is called."""

    source: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryShape:
    """What decides how the entries of a map are read; sizes in bytes. `cpus`: those that have a value each.

    `btf` None: keys and values are hexadecimal digits.
    """

    type: int
    key_size: int
    value_size: int
    max_entries: int
    cpus: tuple[int, ...] = ()
    btf: Btf | None = None
    key_type_id: int = 0
    value_type_id: int = 0

    def key(self, value: object) -> bytes:
        """Return a key's bytes. Raises ConfigError."""
        return self._encode(self.key_type_id, value, self.key_size)

    def value(self, value: object) -> bytes:
        """Return the bytes of one value, without the slots of a per-CPU map. Raises ConfigError."""
        return self._encode(self.value_type_id, value, self.value_size)

    def slots(self, values: Mapping[int, bytes]) -> bytes:
        """Return the values of all CPUs as bpf(2) takes them; a CPU without one has zeros."""
        size = -(-self.value_size // SLOT) * SLOT
        return b"".join(values.get(cpu, b"").ljust(size, b"\0") for cpu in self.cpus)

    def _encode(self, type_id: int, value: object, size: int) -> bytes:
        if isinstance(value, str) and value.startswith(HEX):
            return hex_bytes(value.removeprefix(HEX), size)
        if _is_byte_list(value):
            return hex_bytes(value, size)
        if self.btf is None or not type_id:
            return _untyped(value, size)
        try:
            raw = encode_value(self.btf, type_id, value)
        except BtfError:
            return hex_bytes(value, size)
        return raw if len(raw) == size else hex_bytes(value, size)


def check_fillable(type_: int) -> None:
    """Raise ConfigError for a map whose entries cannot come from a file."""
    if type_ not in FILLABLE:
        raise ConfigError(f"a map of type {enum_name(MapType, type_)} takes no entries from a file")


def read_entries(document: Document, shape: EntryShape) -> tuple[Entry, ...]:
    """Return the entries of a document. ConfigError names the file, the entry and what of it is wrong."""
    with error_context(f"file {quoted(document.source)}"):
        check_fillable(shape.type)
        items = _items(document.raw)
        if len(items) > shape.max_entries:
            raise ConfigError(f"{len(items)} entries, the map has room for {shape.max_entries}")
        entries: list[Entry] = []
        try:
            entries.extend(_unlike(_entries(items, shape)))
        except ConfigError:
            with error_context(f"line {line_of(document.raw, LIST, len(entries))}"):
                raise
        return tuple(entries)


def read_entry(item: Mapping[str, object], shape: EntryShape) -> Entry:
    """Return one entry with the keys that one of a document has. Raises ConfigError."""
    check_fillable(shape.type)
    return Entry(_key(item, shape), _value(item, shape))


def read_key(value: object, shape: EntryShape) -> bytes:
    """Return the bytes of a key as a document has it. Raises ConfigError."""
    return _key({"key": value}, shape)


def _items(raw: bytes) -> Sequence[object]:
    try:
        parsed = json.loads(raw, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ConfigError(f"is no UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"line {error.lineno}, column {error.colno}: is no JSON: {error.msg.lower()}") from None
    except RecursionError:
        raise ConfigError("is nested too deeply") from None
    except ValueError:
        raise ConfigError("holds a number of too many digits") from None
    items = parsed.get(LIST) if isinstance(parsed, dict) else parsed
    if not isinstance(items, list):
        raise ConfigError("is neither a list of entries nor an object that has one as 'entries'")
    return items


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"an object has {quoted(twice)} twice")
    return made


def _entries(items: Sequence[object], shape: EntryShape) -> Iterator[Entry]:
    for number, item in enumerate(items):
        with error_context(f"entry {number}"):
            if not isinstance(item, Mapping):
                raise ConfigError("is no object with 'key' and 'value'")
            if unknown := sorted(set(item) - _KEYS):
                reason = f": {quoted(str(item['error']))}" if "error" in item else ""
                raise ConfigError(f"has {quoted(unknown[0])}, wanted only 'key' and 'value' or 'values'{reason}")
            yield Entry(_key(item, shape), _value(item, shape))


def _unlike(entries: Iterator[Entry]) -> Iterator[Entry]:
    seen: dict[bytes, int] = {}
    for number, entry in enumerate(entries):
        first = seen.setdefault(entry.key, number)
        if first != number:
            raise ConfigError(f"entry {number} has the key of entry {first}")
        yield entry


def _key(item: Mapping[str, object], shape: EntryShape) -> bytes:
    with error_context("key"):
        if "key_bytes" in item:
            key = hex_bytes(item["key_bytes"], shape.key_size)
        elif "key" in item:
            key = shape.key(item["key"])
        else:
            raise ConfigError("is missing")
        index = int.from_bytes(key, sys.byteorder)
        if shape.type in ARRAYS and index >= shape.max_entries:
            raise ConfigError(f"there is no element {index}, the map has {shape.max_entries}")
        return key


def _value(item: Mapping[str, object], shape: EntryShape) -> bytes:
    if not shape.cpus:
        with error_context("value"):
            return _one_value(item, shape)
    if "values" in item:
        with error_context("values"):
            return _cpu_values(item["values"], shape)
    with error_context("value"):
        value = _one_value(item, shape)
        return shape.slots(dict.fromkeys(shape.cpus, value))


def _cpu_values(values: object, shape: EntryShape) -> bytes:
    if not isinstance(values, list):
        raise ConfigError("is no list of objects with 'cpu' and 'value'")
    found: dict[int, bytes] = {}
    for item in values:
        cpu = item.get("cpu") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(cpu, int):
            raise ConfigError("is no list of objects with 'cpu' and 'value'")
        with error_context(f"CPU {cpu}"):
            if cpu in found:
                raise ConfigError("has two values")
            if cpu not in shape.cpus:
                raise ConfigError(f"this machine has none such, its CPUs are {_ranged(shape.cpus)}")
            found[cpu] = _one_value(item, shape)
    return shape.slots(found)


def _one_value(item: Mapping[str, object], shape: EntryShape) -> bytes:
    if "value_bytes" in item:
        return hex_bytes(item["value_bytes"], shape.value_size)
    if "value" not in item:
        raise ConfigError("is missing")
    return shape.value(item["value"])


def _is_byte_list(value: object) -> bool:
    """Tell whether these are bytes as bpftool writes them: ["0x01", "0x00"]."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) and v.startswith("0x") for v in value)


def _untyped(value: object, size: int) -> bytes:
    """Return bytes that have no type: hexadecimal digits, or one number of that many bytes."""
    if not isinstance(value, int):
        return hex_bytes(value, size)
    try:
        return int(value).to_bytes(size, sys.byteorder)
    except OverflowError:
        raise ConfigError(f"{value} does not fit into {size} bytes") from None


def _ranged(cpus: tuple[int, ...]) -> str:
    return f"{cpus[0]} to {cpus[-1]}" if len(cpus) > 1 else str(cpus[0])

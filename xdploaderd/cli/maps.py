"""The actions of `map`: entries of a map shown and changed, by its BTF where it has any, else as hex bytes."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.dump import decode_value
from xdploaderd.cli.online import call, client_of
from xdploaderd.cli.output import print_json, print_line, print_table, print_warnings, text_of
from xdploaderd.daemon.wanted.entries_file import read_document
from xdploaderd.errors import (
    BtfError,
    ConfigError,
    KernelError,
    NoSuchEntryError,
    NoSuchMapError,
    PinError,
    UsageError,
    error_context,
)
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import is_bpffs
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.map_entries import MapEntry, check_keys, map_entries, read_map_entry
from xdploaderd.load.pins import open_pin
from xdploaderd.load.restore import restore_entries, shape_of_info
from xdploaderd.obj.map_document import ARRAYS, EntryShape, read_entries, read_entry, read_key
from xdploaderd.printable import quoted
from xdploaderd.terminal import write_out
from xdploaderd.uapi.bpf import MapType, enum_name

_SHOW_HEADER = ("NAME", "ID", "TYPE", "KEY", "VALUE", "ENTRIES", "PIN")
_BATCH = 1000  # entries written at once


def show(args: argparse.Namespace) -> int:
    """Show the maps of an attachment, or what one map is."""
    if args.attachment:
        found = call(args, "Maps", {"name": args.attachment})["maps"]
        shown = [one for one in found if args.map in ("", one["name"], str(one["id"]))]
        if args.map and not shown:
            raise NoSuchMapError(f"attachment {quoted(args.attachment)} has no map {quoted(args.map)}")
    else:
        bpf = Bpf()
        with _open(bpf, args) as fd:
            shown = [{**_described(bpf.map_info(fd)), "pin": args.pin}]
    if args.json:
        print_json(shown)
    else:
        keys = ("name", "id", "type", "key_size", "value_size", "max_entries", "pin")
        print_table(_SHOW_HEADER, [[text_of(one, key) for key in keys] for one in shown])
    return 0


def dump(args: argparse.Namespace) -> int:
    """Print every entry of a map."""
    bpf = Bpf()
    with _open(bpf, args) as fd:
        info = bpf.map_info(fd)
        shape = _Shown(shape_of_info(info, _read_btf(bpf, info)), exact=args.json)
        entries = (shape.entry(entry) for entry in map_entries(bpf, fd, info))
        if args.json:
            _print_json(info, entries)
        else:
            _print_text(info, entries)
    return 0


def get(args: argparse.Namespace) -> int:
    """Print one entry."""
    bpf = Bpf()
    with _open(bpf, args) as fd, _of(args):
        info = bpf.map_info(fd)
        shape = shape_of_info(info, _read_btf(bpf, info))
        check_keys(info)
        found = read_map_entry(bpf, fd, info, read_key(_value_of(args.following[0]), shape))
        if found is None:
            raise NoSuchEntryError(f"no entry has the key {quoted(args.following[0])}")
        shown = _Shown(shape, exact=args.json).entry(found)
    if args.json:
        print_json(shown)
    else:
        write_out("\n".join(_lines(shown)))
    return 0


def set_(args: argparse.Namespace) -> int:
    """Set one entry."""
    bpf = Bpf()
    with _open(bpf, args, write=True) as fd, _of(args):
        info = bpf.map_info(fd)
        key, value = map(_value_of, args.following)
        entry = read_entry({"key": key, "value": value}, shape_of_info(info, _read_btf(bpf, info)))
        bpf.map_update(fd, entry.key, entry.value)
    return _tell_changed(args, info, "set")


def delete(args: argparse.Namespace) -> int:
    """Remove one entry."""
    bpf = Bpf()
    with _open(bpf, args, write=True) as fd, _of(args):
        info = bpf.map_info(fd)
        check_keys(info)
        if info.type in ARRAYS:
            raise UsageError(f"a map of type {enum_name(MapType, info.type)} always has all its elements")
        key = read_key(_value_of(args.following[0]), shape_of_info(info, _read_btf(bpf, info)))
        if not bpf.map_delete(fd, key):
            raise NoSuchEntryError(f"no entry has the key {quoted(args.following[0])}")
    return _tell_changed(args, info, "deleted")


def load(args: argparse.Namespace) -> int:
    """Set the entries of a file."""
    document = read_document(PurePosixPath(args.following[0]))
    bpf = Bpf()
    with _open(bpf, args, write=True) as fd, _of(args):
        info = bpf.map_info(fd)
        entries = read_entries(document, shape_of_info(info, _read_btf(bpf, info)))
        restore_entries(bpf, fd, info, entries, replace=args.replace)
    return _tell_changed(args, info, "set", len(entries))


def _tell_changed(args: argparse.Namespace, info: MapInfo, what: str, number: int = 1) -> int:
    if args.json:
        print_json({"map": _described(info), what: number})
    else:
        print_line(f"{number} entries {what}" if number != 1 else f"1 entry {what}")
    return 0


def _open(bpf: Bpf, args: argparse.Namespace, *, write: bool = False) -> Fd:
    """Open a map by its pin, or let the daemon open that of an attachment; only to be read unless `write`."""
    if args.attachment:
        wanted = {"name": args.attachment, "map": args.map, **({"write": True} if write else {})}
        return Fd(client_of(args).open("OpenMap", wanted))
    path = PurePosixPath(args.pin)
    if os.path.exists(path) and not is_bpffs(path):
        raise PinError(f"{quoted(args.pin)} does not lie on a BPF file system")
    fd = open_pin(bpf, path, ObjectKind.MAP)
    if fd is None:
        raise PinError(f"nothing is pinned at {quoted(args.pin)}")
    return fd


def _of(args: argparse.Namespace) -> error_context:
    return error_context(f"map {quoted(args.pin or args.map)}")


def _value_of(word: str) -> Any:
    """Return what a word of the command line stands for: JSON, or else itself."""
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


class _Shown:
    """How the bytes of one map are shown; `exact`: with the bytes beside a value that does not tell all of them."""

    def __init__(self, shape: EntryShape, *, exact: bool) -> None:
        self._shape = shape
        self._exact = exact and shape.btf is not None

    def entry(self, entry: MapEntry) -> dict[str, Any]:
        """Return one entry as JSON values: `value`, for a per-CPU map `values`, or why there is none."""
        shape = self._shape
        shown = self._part("key", shape.key_type_id, entry.key, shape.key)
        if entry.error:
            return {**shown, "error": entry.error}
        values = [self._part("value", shape.value_type_id, value, shape.value) for value in entry.values]
        if not shape.cpus:
            return {**shown, **values[0]}
        return {**shown, "values": [{"cpu": c, **value} for c, value in zip(shape.cpus, values, strict=True)]}

    def _part(self, name: str, type_id: int, raw: bytes, encode: Callable[[object], bytes]) -> dict[str, Any]:
        value = self._decode(type_id, raw)
        shown = {name: value}
        if self._exact and not _is_exact(value, raw, encode):  # bytes between members, of which no member tells
            shown[f"{name}_bytes"] = raw.hex(" ")
        return shown

    def _decode(self, type_id: int, raw: bytes) -> Any:
        btf = self._shape.btf
        if btf is None:
            return raw.hex(" ")
        if not type_id:  # void: the key of a data map, an index
            return int.from_bytes(raw, sys.byteorder)
        try:
            value = decode_value(btf, type_id, raw)
        except BtfError:
            return raw.hex(" ")
        return raw.hex(" ") if value == {} else value  # a DATASEC whose variables have no names


def _is_exact(value: object, raw: bytes, encode: Callable[[object], bytes]) -> bool:
    try:
        return encode(value) == raw
    except ConfigError:
        return False


def _read_btf(bpf: Bpf, info: MapInfo) -> Btf | None:
    """Return the BTF that describes a map; one that cannot be read costs the decoding, not the dump."""
    if info.btf_id is None or not (info.btf_key_type_id or info.btf_value_type_id):
        return None
    try:
        with bpf.btf_by_id(info.btf_id) as fd:
            return Btf.parse(bpf.btf_raw(fd), name=f"BTF {info.btf_id}")
    except (KernelError, BtfError) as error:
        print_warnings([f"shown without types: {error}"])
        return None


def _described(info: MapInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "name": info.name,
        "type": enum_name(MapType, info.type),
        "key_size": info.key_size,
        "value_size": info.value_size,
        "max_entries": info.max_entries,
    }


def _print_json(info: MapInfo, entries: Iterator[dict[str, Any]]) -> None:
    """Print one JSON document piece by piece: a map may have millions of entries."""
    write_out(f'{{"map": {json.dumps(_described(info))}, "entries": [')
    separator = ""
    for batch in _batches(entries):
        write_out(separator + ",\n".join(f"  {json.dumps(entry)}" for entry in batch))
        separator = ","
    write_out("]}")


def _print_text(info: MapInfo, entries: Iterator[dict[str, Any]]) -> None:
    sizes = f"key {info.key_size} bytes, value {info.value_size} bytes, at most {info.max_entries} entries"
    print_line(f"map {info.id} '{info.name}', {enum_name(MapType, info.type)}: {sizes}")
    count = 0
    for batch in _batches(entries):
        count += len(batch)
        write_out("\n".join(line for entry in batch for line in _lines(entry)))
    print_line(f"{count} entries" if count != 1 else "1 entry")


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    key = json.dumps(entry["key"])
    if "values" in entry:
        yield f"{key}:"
        yield from (f"  cpu {slot['cpu']}: {json.dumps(slot['value'])}" for slot in entry["values"])
    else:
        yield f"{key}: {json.dumps(entry['value']) if 'value' in entry else entry['error']}"


def _batches(entries: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

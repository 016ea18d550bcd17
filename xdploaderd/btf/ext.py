""".BTF.ext: function info, line info and CO-RE relocation records (libbpf btf.c, struct btf_ext_header)."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.header import byteorder_of
from xdploaderd.errors import BtfError, error_context

VERSION = 1
MIN_HEADER = 24  # without CO-RE records
CORE_HEADER = 32
WORD = 4
_PREFIX = {"little": "<", "big": ">"}
_T = TypeVar("_T")


class CoreReloKind(IntEnum):
    """enum bpf_core_relo_kind."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


class CoreRelo(NamedTuple):
    """struct bpf_core_relo; insn_off in bytes from the start of its section, kind as written (may be unknown)."""

    insn_off: int
    type_id: int
    access_str: str
    kind: int


class FuncInfo(NamedTuple):
    """struct bpf_func_info; insn_off in bytes from the start of its section."""

    insn_off: int
    type_id: int


class LineInfo(NamedTuple):
    """struct bpf_line_info; insn_off in bytes from the start of its section, line_col = line << 10 | column."""

    insn_off: int
    file_name_off: int
    line_off: int
    line_col: int


class InfoRecords(Mapping[str, tuple[_T, ...]], Generic[_T]):
    """Records by section name, decoded when a section's are asked for: an object has one for every source line."""

    __slots__ = ("_blocks", "_decoded", "_make")

    def __init__(self, blocks: Iterable["_Block"], make: Callable[[Iterable[int]], _T]) -> None:
        self._make = make
        self._blocks: dict[str, list[_Block]] = {}
        self._decoded: dict[str, tuple[_T, ...]] = {}
        for block in blocks:
            self._blocks.setdefault(block.section, []).append(block)

    def __getitem__(self, section: str) -> tuple[_T, ...]:
        if section not in self._decoded:
            rows = (row for block in self._blocks[section] for row in block.rows())
            self._decoded[section] = tuple(map(self._make, rows))
        return self._decoded[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


class BtfExt(NamedTuple):
    """The three tables, by section name."""

    func_infos: Mapping[str, tuple[FuncInfo, ...]]
    line_infos: Mapping[str, tuple[LineInfo, ...]]
    core_relos: Mapping[str, tuple[CoreRelo, ...]]


class _Table(NamedTuple):
    """Where one table lies (bytes from the section's start) and the known part of its records."""

    name: str
    offset: int
    length: int
    record: struct.Struct


class _Block(NamedTuple):
    """The records of one section as they lie in a table, and the layout of their known part."""

    section: str
    raw: memoryview
    record_size: int
    record: struct.Struct

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Yield the known fields of every record.

        From a copy: an iterator over a view that an error leaves half-way, kept in a cycle by the error's traceback,
        ends the process, since Python before 3.12.4 clears views that are still in use (CPython issue 77894).
        """
        if self.record_size == self.record.size:
            return self.record.iter_unpack(bytes(self.raw))
        return (self.record.unpack_from(self.raw, at) for at in range(0, len(self.raw), self.record_size))


def parse_btf_ext(raw: bytes, btf: Btf) -> BtfExt:
    """Return the tables of a .BTF.ext section; names and access strings come from `btf`.

    Records longer than those known here are cut to the known part. BtfError for malformed bytes (the rules of libbpf's
    btf_ext_parse); type ids and instruction offsets are checked where they are used.
    """
    with error_context(".BTF.ext"):
        func, line, core = _tables(raw, btf.byteorder)
        return BtfExt(
            InfoRecords(_blocks(raw, func, btf), FuncInfo._make),
            InfoRecords(_blocks(raw, line, btf), LineInfo._make),
            _core_relos(_blocks(raw, core, btf), btf),
        )


def _core_relos(blocks: Iterable["_Block"], btf: Btf) -> Mapping[str, tuple[CoreRelo, ...]]:
    found: dict[str, list[CoreRelo]] = {}
    for block in blocks:
        relos = (CoreRelo(at, type_id, btf.string(access), kind) for at, type_id, access, kind in block.rows())
        found.setdefault(block.section, []).extend(relos)
    return {section: tuple(relos) for section, relos in found.items()}


def _tables(raw: bytes, byteorder: str) -> tuple[_Table, _Table, _Table]:
    """Return function info, line info and CO-RE records as the header has them."""
    if len(raw) < MIN_HEADER:
        raise BtfError(f"section is {len(raw)} bytes, want at least the {MIN_HEADER} of its header")
    if byteorder_of(memoryview(raw)) != byteorder:
        raise BtfError(f"byte order is not that of .BTF, which is {byteorder}-endian")
    prefix = _PREFIX[byteorder]
    _, version, flags, hdr_len, *areas = struct.unpack_from(prefix + "HBBIIIII", raw)
    if version != VERSION or flags:
        raise BtfError(f"version {version} with flags {flags:#x}, want version {VERSION} without flags")
    if not MIN_HEADER <= hdr_len < len(raw):
        raise BtfError(f"header length is {hdr_len} bytes, want {MIN_HEADER} to {len(raw) - 1}")
    areas += struct.unpack_from(prefix + "II", raw, MIN_HEADER) if hdr_len >= CORE_HEADER else (0, 0)
    return (
        _Table("func_info", hdr_len + areas[0], areas[1], struct.Struct(prefix + "II")),
        _Table("line_info", hdr_len + areas[2], areas[3], struct.Struct(prefix + "IIII")),
        _Table("core_relo", hdr_len + areas[4], areas[5], struct.Struct(prefix + "IIII")),
    )


def _blocks(raw: bytes, table: _Table, btf: Btf) -> Iterator[_Block]:
    """Yield the records of a table, those of one section after the other."""
    if not table.length:
        return
    at, end = table.offset, table.offset + table.length
    if at % WORD or end > len(raw) or table.length < WORD:
        raise BtfError(
            f"{table.name} is {table.length} bytes at byte {at}, which do not lie in the section's {len(raw)}"
        )
    words = struct.Struct(_PREFIX[btf.byteorder] + "II")
    (record_size,) = struct.unpack_from(_PREFIX[btf.byteorder] + "I", raw, at)
    if record_size < table.record.size or record_size % WORD:
        raise BtfError(f"{table.name} has records of {record_size} bytes, want {table.record.size} or 4, 8, ... more")
    at += WORD
    if at == end:
        raise BtfError(f"{table.name} has no records")
    while at < end:
        if end - at < words.size:
            raise BtfError(f"{table.name} ends within the header of a section's records")
        name_off, count = words.unpack_from(raw, at)
        at += words.size
        if not 0 < count <= (end - at) // record_size:
            raise BtfError(f"{table.name} has {count} records for a section, want 1 to {(end - at) // record_size}")
        size = count * record_size
        yield _Block(btf.string(name_off), memoryview(raw)[at : at + size], record_size, table.record)
        at += size

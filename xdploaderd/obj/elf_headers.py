"""The file header and the section headers of a relocatable BPF object (gABI chapter 4; libbpf.c, bpf_object__elf_init).

A header as compilers write it is read by struct, in a thirtieth of the time that elftools takes, which was half of what
opening a small object costs. Every other header goes to elftools, which knows the names of what is odd in it.
"""

import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs

from xdploaderd.errors import ObjectError
from xdploaderd.limits import Limits, over_limit

_EI_CLASS, _EI_DATA = 4, 5  # bytes of e_ident
_ELFCLASS32, _ELFCLASS64 = 1, 2
_BYTE_ORDERS = {1: "little", 2: "big"}  # ELFDATA2LSB, ELFDATA2MSB
_PREFIX = {"little": "<", "big": ">"}
_EHDR = {order: struct.Struct(prefix + "16xHHIQQQIHHHHHH") for order, prefix in _PREFIX.items()}
_SHDR = {order: struct.Struct(prefix + "IIQQQQIIQQ") for order, prefix in _PREFIX.items()}
_EHDR_SIZE = _SHDR_SIZE = 64
_ET_REL = 1
_EM_NONE, _EM_BPF = 0, 247
_FOREIGN = (ELFError, ConstructError, OverflowError, MemoryError, struct.error, UnicodeError, RecursionError)


class FileHeader(NamedTuple):
    """Elf64_Ehdr behind its identification."""

    type: int
    machine: int
    version: int
    entry: int
    program_headers: int
    section_headers: int
    flags: int
    size: int
    program_header_size: int
    program_header_count: int
    section_header_size: int
    section_header_count: int
    names_index: int


class SectionHeader(NamedTuple):
    """Elf64_Shdr; `name` is an offset into the section of names, `offset` one into the file."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entsize: int


class Headers(NamedTuple):
    """All headers of a file; `names_index` is the number of the section that holds their names, checked by nobody."""

    byteorder: str
    names_index: int
    sections: tuple[SectionHeader, ...]


def byte_order_prefix(byteorder: str) -> str:
    """Return the character by which struct knows a byte order."""
    return _PREFIX[byteorder]


def read_headers(raw: bytes, limits: Limits) -> Headers:
    """Return the headers of a relocatable 64-bit object for BPF, ObjectError for any other file.

    LimitError for too many sections; what a section header says of its section is not checked.
    """
    byteorder = _identify(raw)
    header = FileHeader._make(_EHDR[byteorder].unpack_from(raw))
    if not _is_usual(header):
        _refuse(raw, byteorder)
    start, count = header.section_headers, header.section_header_count
    if count > limits.sections:
        raise over_limit(limits, "sections", f"file of {count} sections", "read")
    end = start + count * _SHDR_SIZE
    if not count or end > len(raw):
        raise ObjectError(f"section headers reach to byte {end} of a file of {len(raw)} bytes")
    rows = _SHDR[byteorder].iter_unpack(memoryview(raw)[start:end])
    return Headers(byteorder, header.names_index, tuple(map(SectionHeader._make, rows)))


def _identify(raw: bytes) -> str:
    """Return the byte order; ObjectError for anything but a 64-bit ELF file."""
    if raw[:4] != b"\x7fELF":
        raise ObjectError("not an ELF file")
    if len(raw) < _EHDR_SIZE:
        raise ObjectError(f"ELF file of {len(raw)} bytes, want at least the {_EHDR_SIZE} of its header")
    if raw[_EI_CLASS] != _ELFCLASS64:
        found = "32-bit ELF file" if raw[_EI_CLASS] == _ELFCLASS32 else f"ELF file of unknown class {raw[_EI_CLASS]}"
        raise ObjectError(f"{found}, want a 64-bit one")
    if raw[_EI_DATA] not in _BYTE_ORDERS:
        raise ObjectError(f"ELF file of unknown byte order {raw[_EI_DATA]}, want 1 (little endian) or 2 (big endian)")
    return _BYTE_ORDERS[raw[_EI_DATA]]


def _is_usual(header: FileHeader) -> bool:
    return header.type == _ET_REL and header.machine in (_EM_NONE, _EM_BPF) and header.section_header_size == _SHDR_SIZE


def _refuse(raw: bytes, byteorder: str) -> NoReturn:
    """Raise ObjectError with the names of what the file is; `raw` has a file header."""
    header = _guarded(lambda: _structs(byteorder).Elf_Ehdr.parse(raw[:_EHDR_SIZE]))
    if header["e_type"] != "ET_REL":
        raise ObjectError(f"ELF type {header['e_type']}, want a relocatable object (ET_REL)")
    if header["e_machine"] not in ("EM_NONE", "EM_BPF"):
        raise ObjectError(f"machine {header['e_machine']}, want EM_BPF (or EM_NONE)")
    raise ObjectError(f"section headers of {header['e_shentsize']} bytes, want {_SHDR_SIZE}")


def _guarded(parse: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Turn whatever the foreign parser raises on malformed bytes into an ObjectError."""
    try:
        return parse()
    except _FOREIGN as error:
        raise ObjectError(f"not a well-formed ELF file: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    text = str(error).replace("\n", " ")[:120].strip()
    return f"{type(error).__name__}, {text}" if text else type(error).__name__


@functools.cache
def _structs(byteorder: str) -> ELFStructs:
    """Return elftools' decoders of a byte order, kept, since making them takes long."""
    structs = ELFStructs(little_endian=byteorder == "little", elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    return structs

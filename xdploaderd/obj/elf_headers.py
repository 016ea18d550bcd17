"""The file header and the section headers of a relocatable BPF object (gABI chapter 4; libbpf.c, bpf_object__elf_init).

A header as compilers write it is read by struct, in a thirtieth of the time that elftools takes, which was half of what
opening a small object costs. Every other header goes to elftools (obj/odd_headers.py), which knows the names of what is
odd in it.
"""

import struct
from importlib import import_module
from typing import NamedTuple

from xdploaderd.errors import ObjectError
from xdploaderd.limits import Limits, over_limit

_EI_CLASS, _EI_DATA = 4, 5  # bytes of e_ident
_ELFCLASS32, _ELFCLASS64 = 1, 2
_BYTE_ORDERS = {1: "little", 2: "big"}  # ELFDATA2LSB, ELFDATA2MSB
_PREFIX = {"little": "<", "big": ">"}
_EHDR = {order: struct.Struct(prefix + "16xHHIQQQIHHHHHH") for order, prefix in _PREFIX.items()}
_SHDR = {order: struct.Struct(prefix + "IIQQQQIIQQ") for order, prefix in _PREFIX.items()}
EHDR_SIZE = SHDR_SIZE = 64
_ET_REL = 1
_EM_NONE, _EM_BPF = 0, 247
_ODD_HEADERS = "xdploaderd.obj.odd_headers"  # imported where one shows: elftools is a quarter of a start


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
        refusal: ObjectError = import_module(_ODD_HEADERS).refusal(raw, byteorder)
        raise refusal
    start, count = header.section_headers, header.section_header_count
    if count > limits.sections:
        raise over_limit(limits, "sections", f"file of {count} sections", "read")
    end = start + count * SHDR_SIZE
    if not count or end > len(raw):
        raise ObjectError(f"section headers reach to byte {end} of a file of {len(raw)} bytes")
    rows = _SHDR[byteorder].iter_unpack(memoryview(raw)[start:end])
    return Headers(byteorder, header.names_index, tuple(map(SectionHeader._make, rows)))


def _identify(raw: bytes) -> str:
    """Return the byte order; ObjectError for anything but a 64-bit ELF file."""
    if raw[:4] != b"\x7fELF":
        raise ObjectError("not an ELF file")
    if len(raw) < EHDR_SIZE:
        raise ObjectError(f"ELF file of {len(raw)} bytes, want at least the {EHDR_SIZE} of its header")
    if raw[_EI_CLASS] != _ELFCLASS64:
        found = "32-bit ELF file" if raw[_EI_CLASS] == _ELFCLASS32 else f"ELF file of unknown class {raw[_EI_CLASS]}"
        raise ObjectError(f"{found}, want a 64-bit one")
    if raw[_EI_DATA] not in _BYTE_ORDERS:
        raise ObjectError(f"ELF file of unknown byte order {raw[_EI_DATA]}, want 1 (little endian) or 2 (big endian)")
    return _BYTE_ORDERS[raw[_EI_DATA]]


def _is_usual(header: FileHeader) -> bool:
    return header.type == _ET_REL and header.machine in (_EM_NONE, _EM_BPF) and header.section_header_size == SHDR_SIZE

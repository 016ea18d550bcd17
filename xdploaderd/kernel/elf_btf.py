"""The section `.BTF` of an ELF file of any class and byte order, such as a vmlinux or a module (libbpf btf_parse_elf).

A vmlinux may have hundreds of megabytes, so only headers and that section are read.
"""

import struct
from typing import BinaryIO, NamedTuple

from xdploaderd.errors import NoBtfError, ObjectError

ELF_MAGIC = b"\x7fELF"
_EHDR_MAX = 64
_SHF_COMPRESSED = 0x800
_SHT_NOBITS = 8
_NAMES_MAX = 1 << 20  # bytes of section names; a vmlinux has 2 KB
BTF_MAX = 32 << 20  # bytes; the BTF of a distribution's kernel has 5 to 10 MB


class _Layout(NamedTuple):
    """Where fields are in one class: e_shoff, e_shentsize; the section header's form and fields."""

    ehdr: int
    shoff_at: int
    shoff_form: str
    counts_at: int
    shdr: str
    shdr_size: int


_LAYOUTS = {
    1: _Layout(52, 32, "I", 46, "IIIIIIIIII", 40),
    2: _Layout(64, 40, "Q", 58, "IIQQQQIIQQ", 64),
}
_ORDERS = {1: "<", 2: ">"}


class _SectionHeader(NamedTuple):
    """Elf32_Shdr or Elf64_Shdr."""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int


def read_btf_section(file: BinaryIO, name: str) -> bytes:
    """Return the bytes of `.BTF`; NoBtfError when there is no such section, ObjectError for a malformed file."""
    headers, names = _sections(file, name)
    for header in headers:
        found = names.startswith(b".BTF\0", header.name)
        if found and header.type != _SHT_NOBITS and not header.flags & _SHF_COMPRESSED:
            return _section_bytes(file, header, BTF_MAX, name)
    raise NoBtfError(f"'{name}' is an ELF file without a section '.BTF'")


def _sections(file: BinaryIO, name: str) -> tuple[list[_SectionHeader], bytes]:
    ehdr = read_range(file, 0, _EHDR_MAX)
    layout, order = _LAYOUTS.get(ehdr[4] if len(ehdr) > 4 else 0), _ORDERS.get(ehdr[5] if len(ehdr) > 5 else 0)  # noqa: PLR2004 - EI_CLASS and EI_DATA
    if layout is None or order is None or len(ehdr) < layout.ehdr:
        raise ObjectError(f"'{name}': the ELF header is malformed or cut short")
    (shoff,) = struct.unpack_from(order + layout.shoff_form, ehdr, layout.shoff_at)
    entsize, count, names_index = struct.unpack_from(f"{order}HHH", ehdr, layout.counts_at)
    if entsize != layout.shdr_size or names_index >= count:
        raise ObjectError(f"'{name}': the ELF section table is malformed")
    table = read_range(file, shoff, count * entsize)
    if len(table) != count * entsize:
        raise ObjectError(f"'{name}': the ELF section table is cut short")
    headers = [_SectionHeader(*fields[:6]) for fields in struct.iter_unpack(order + layout.shdr, table)]
    return headers, _section_bytes(file, headers[names_index], _NAMES_MAX, name)


def _section_bytes(file: BinaryIO, header: _SectionHeader, most: int, name: str) -> bytes:
    if header.size > most:
        raise ObjectError(f"'{name}': a section of {header.size} bytes is too large, at most {most} are taken")
    found = read_range(file, header.offset, header.size)
    if len(found) != header.size:
        raise ObjectError(f"'{name}': the file ends inside a section of {header.size} bytes")
    return found


def read_range(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read what there is of a range; offsets no file can have count as empty."""
    if offset >= 1 << 63:
        return b""
    file.seek(offset)
    return file.read(size)

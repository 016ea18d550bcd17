"""ELF bytes to named sections (gABI chapter 4; libbpf.c, bpf_object__elf_collect); symbols are of obj/elf.py.

Nothing is read that the file does not hold, and section contents are views of the file, so a header that lies about
sizes costs nothing.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple, Self

from xdploaderd.errors import ObjectError, error_context
from xdploaderd.limits import DEFAULT_LIMITS, Limits, over_limit
from xdploaderd.obj.elf_headers import Headers, SectionHeader, read_headers
from xdploaderd.obj.elf_strings import Strings
from xdploaderd.printable import quoted

SHF_EXECINSTR = 0x4
SHF_COMPRESSED = 0x800


class SectionType(IntEnum):
    """SHT_*, as far as they matter here."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9


class Section(NamedTuple):
    """Elf64_Shdr with a view of the section's bytes (empty for NOBITS); sizes in bytes."""

    number: int
    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    entsize: int
    view: memoryview

    def is_program(self) -> bool:
        """Tell whether the section holds instructions."""
        return self.type == SectionType.PROGBITS and bool(self.flags & SHF_EXECINSTR) and self.size > 0

    def data(self) -> memoryview:
        """Return the bytes; ObjectError when they are compressed, which only debug sections may be."""
        if self.flags & SHF_COMPRESSED:
            raise ObjectError(f"section '{self.name}' is compressed; only debug sections may be")
        return self.view


class ElfSections:
    """The sections of one relocatable BPF object, checked: every one lies in the file, every name is bounded."""

    __slots__ = ("_section_by_name", "byteorder", "limits", "raw", "sections")

    def __init__(self, raw: bytes, headers: Headers, limits: Limits) -> None:
        self.byteorder = headers.byteorder
        self.raw = raw
        self.limits = limits
        self.sections = _parse_sections(raw, headers, limits)
        self._section_by_name: Mapping[str, Section] = {section.name: section for section in reversed(self.sections)}

    @classmethod
    def parse(cls, raw: bytes, *, name: str, limits: Limits = DEFAULT_LIMITS) -> Self:
        """Decode headers and section names; ObjectError says what is wrong with the file `name`."""
        with error_context(f"object {quoted(name)}"):
            if len(raw) > limits.file_size:
                raise over_limit(limits, "file_size", f"file of {len(raw)} bytes", "read")
            return cls(raw, read_headers(raw, limits), limits)

    def section(self, name: str) -> Section | None:
        """Return the first section of that name."""
        return self._section_by_name.get(name)


def _parse_sections(raw: bytes, headers: Headers, limits: Limits) -> tuple[Section, ...]:
    number = headers.names_index
    if number >= len(headers.sections) or headers.sections[number].type != SectionType.STRTAB:
        raise ObjectError(f"section names are said to be in section {number}, which holds no strings")
    names = Strings(bytes(_make_section(raw, headers.sections[number], number, "").data()), limits)
    return tuple(
        _make_section(raw, header, number, names.at(header.name)) for number, header in enumerate(headers.sections)
    )


def _make_section(raw: bytes, header: SectionHeader, number: int, name: str) -> Section:
    has_bytes = header.type not in (SectionType.NULL, SectionType.NOBITS)
    end = header.offset + header.size
    if has_bytes and end > len(raw):
        raise ObjectError(f"section {number} reaches to byte {end} of a file of {len(raw)} bytes")
    return Section(
        number=number,
        name=name,
        type=header.type,
        flags=header.flags,
        size=header.size,
        link=header.link,
        info=header.info,
        entsize=header.entsize,
        view=memoryview(raw)[header.offset : end] if has_bytes else memoryview(b""),
    )

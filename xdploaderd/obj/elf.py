"""Symbols and relocations of ELF files (gABI chapters 4 and 5; libbpf.c, bpf_object__elf_collect)."""

import struct
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple, TypeVar

from xdploaderd.errors import ObjectError
from xdploaderd.limits import Limits, over_limit
from xdploaderd.obj.elf_headers import Headers, byte_order_prefix
from xdploaderd.obj.elf_sections import ElfSections, Section, SectionType
from xdploaderd.obj.elf_strings import Strings

SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00

_REL_SIZE = 16
_SYM_SIZE = 24
_SYM_HALF = 3 if sys.byteorder == "little" else 2  # of the four halves of an Elf64_Rel: ELF64_R_SYM of its r_info
_ST_INFO, _ST_SHNDX = 4, 6  # bytes of Elf64_Sym
_ST_TYPE = bytes(info & 0xF for info in range(256))  # ELF64_ST_TYPE of each st_info
_T = TypeVar("_T")


class SymBind(IntEnum):
    """STB_*."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymType(IntEnum):
    """STT_*."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


class SymVisibility(IntEnum):
    """STV_*."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class Symbol(NamedTuple):
    """Elf64_Sym; bind, type and visibility are plain numbers, since a file may hold any."""

    number: int
    name: str
    section: int
    value: int
    size: int
    bind: int
    type: int
    visibility: int

    def is_local(self) -> bool:
        """Tell whether only this file sees the symbol."""
        return self.bind == SymBind.LOCAL

    def is_hidden(self) -> bool:
        """Tell whether other files see the symbol while linking, and the kernel does not."""
        return self.visibility in (SymVisibility.HIDDEN, SymVisibility.INTERNAL)


class ElfReloc(NamedTuple):
    """Elf64_Rel: `offset` in bytes from the start of the section, `symbol` an index."""

    offset: int
    type: int
    symbol: int


class SymbolTable:
    """The symbols of a file by number; each is made when asked for, since most are labels that nobody refers to.

    ObjectError when the name of any is not there.
    """

    __slots__ = ("_data", "_functions", "_known", "_layout", "_places", "_strings", "_types")

    def __init__(self, data: bytes, byteorder: str, strings: Strings) -> None:
        self._data = data
        self._layout = struct.Struct(byte_order_prefix(byteorder) + "IBBHQQ")
        self._strings = strings
        self._types = data[_ST_INFO::_SYM_SIZE].translate(_ST_TYPE)
        self._known: dict[int, Symbol] = {}
        self._functions: Mapping[int, tuple[Symbol, ...]] | None = None  # by section, which are asked for some times
        names, self._places = array("I", data)[:: _SYM_SIZE // 4], array("H", data)[_ST_SHNDX // 2 :: _SYM_SIZE // 2]
        if byteorder != sys.byteorder:
            names.byteswap()
            self._places.byteswap()
        if names and not strings.holds_all_to(max(names)):
            for name in names:
                strings.at(name)

    def __len__(self) -> int:
        """Return the number of symbols."""
        return len(self._types)

    def __getitem__(self, number: int) -> Symbol:
        """Return symbol `number`; IndexError behind the last one."""
        found = self._known.get(number)
        if found is None:
            kind = self._types[number]
            name, info, other, section, value, size = self._layout.unpack_from(self._data, number * _SYM_SIZE)
            text = self._strings.at(name)
            found = Symbol(number, text, section, value, size, info >> 4, kind, other & 0x3)
            self._known[number] = found
        return found

    def __iter__(self) -> Iterator[Symbol]:
        return map(self.__getitem__, range(len(self)))

    def of_section(self, index: int) -> tuple[Symbol, ...]:
        """Return the symbols defined in a section, in the order of the table."""
        return tuple(map(self.__getitem__, _positions(self._places.index, index)))

    def functions_of(self, index: int) -> tuple[Symbol, ...]:
        """Return those of them that are functions."""
        if self._functions is None:
            self._functions = _grouped(self.of_type(SymType.FUNC), attrgetter("section"))
        return self._functions.get(index, ())

    def of_type(self, kind: SymType) -> tuple[Symbol, ...]:
        """Return the symbols of a type."""
        return tuple(map(self.__getitem__, _positions(self._types.index, kind)))


class ElfImage(ElfSections):
    """One relocatable BPF object with its symbols and relocations, which are checked as its sections are."""

    __slots__ = ("_program_sections", "_reloc_tables", "symbols")

    def __init__(self, raw: bytes, headers: Headers, limits: Limits) -> None:
        super().__init__(raw, headers, limits)
        tables = [section for section in self.sections if section.type == SectionType.REL]
        self._program_sections = tuple(section for section in self.sections if section.is_program())
        self.symbols = _parse_symbols(self.sections, headers.byteorder, limits)
        _check_reloc_tables(tables, len(self.sections), limits)
        self._reloc_tables: Mapping[int, tuple[Section, ...]] = _grouped(tables, attrgetter("info"))

    def program_sections(self) -> tuple[Section, ...]:
        """Return the sections that hold instructions, in index order."""
        return self._program_sections

    def symbols_in(self, section: Section) -> tuple[Symbol, ...]:
        """Return the symbols defined in a section, in symbol table order."""
        return self.symbols.of_section(section.number)

    def functions_in(self, section: Section) -> tuple[Symbol, ...]:
        """Return those of them that are functions."""
        return self.symbols.functions_of(section.number)

    def undefined_symbols(self) -> tuple[Symbol, ...]:
        """Return the symbols that the file refers to and does not define."""
        return self.symbols.of_section(SHN_UNDEF)

    def name_of(self, symbol: Symbol) -> str:
        """Return the symbol's name; a section symbol has that of its section."""
        if symbol.name or symbol.type != SymType.SECTION or symbol.section >= len(self.sections):
            return symbol.name
        return self.sections[symbol.section].name

    def relocs(self, target: Section) -> tuple[ElfReloc, ...]:
        """Return the SHT_REL relocations of a section, in file order; ObjectError for an unknown symbol."""
        tables = self._reloc_tables.get(target.number, ())
        return tuple(reloc for table in tables for reloc in self._relocs_of(table))

    def reloc_columns(self, target: Section) -> tuple[list[int], list[int]]:
        """Return the same as two columns, offsets and symbols: who reads thousands wants no object for each."""
        offsets: list[int] = []
        symbols: list[int] = []
        for table in self._reloc_tables.get(target.number, ()):
            words = array("Q", bytes(table.data()))
            if self.byteorder != sys.byteorder:
                words.byteswap()
            halves = array("I", words.tobytes())
            offsets += words[::2]
            symbols += self._checked(table, halves[_SYM_HALF::4].tolist())
        return offsets, symbols

    def _relocs_of(self, table: Section) -> list[ElfReloc]:
        layout = struct.Struct(byte_order_prefix(self.byteorder) + "QQ")
        relocs = [ElfReloc(at, info & 0xFFFFFFFF, info >> 32) for at, info in layout.iter_unpack(table.data())]
        self._checked(table, [reloc.symbol for reloc in relocs])
        return relocs

    def _checked(self, table: Section, symbols: list[int]) -> list[int]:
        count = len(self.symbols)
        if max(symbols, default=0) >= count:
            number = next(number for number, symbol in enumerate(symbols) if symbol >= count)
            raise ObjectError(f"relo #{number} of '{table.name}' names symbol {symbols[number]} of {count}")
        return symbols


def _positions(find: Callable[[int, int], int], wanted: int) -> Iterator[int]:
    """Yield where a number stands in a sequence, of which `find` is the index method."""
    at = -1
    with suppress(ValueError):
        while True:
            at = find(wanted, at + 1)
            yield at


def _grouped(items: Iterable[_T], key: Callable[[_T], int]) -> Mapping[int, tuple[_T, ...]]:
    groups: defaultdict[int, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return {number: tuple(group) for number, group in groups.items()}


def _check_reloc_tables(tables: list[Section], section_count: int, limits: Limits) -> None:
    for table in tables:
        if table.entsize != _REL_SIZE or table.size % _REL_SIZE:
            raise ObjectError(
                f"section '{table.name}' of {table.size} bytes has entries of {table.entsize} bytes, want {_REL_SIZE}"
            )
        if table.info >= section_count:
            raise ObjectError(f"section '{table.name}' relocates section {table.info} of {section_count}")
    if sum(table.size for table in tables) // _REL_SIZE > limits.relocations:
        raise over_limit(limits, "relocations", "too many relocations", "taken")


def _parse_symbols(sections: tuple[Section, ...], byteorder: str, limits: Limits) -> SymbolTable:
    tables = [section for section in sections if section.type == SectionType.SYMTAB]
    if len(tables) != 1:
        raise ObjectError("no symbol table; was the file stripped?" if not tables else f"{len(tables)} symbol tables")
    table, data = tables[0], bytes(tables[0].data())
    if table.entsize != _SYM_SIZE or len(data) % _SYM_SIZE:
        raise ObjectError(f"symbol table of {len(data)} bytes has entries of {table.entsize} bytes, want {_SYM_SIZE}")
    if len(data) // _SYM_SIZE > limits.symbols:
        raise over_limit(limits, "symbols", f"file of {len(data) // _SYM_SIZE} symbols", "read")
    if table.link >= len(sections) or sections[table.link].type != SectionType.STRTAB:
        raise ObjectError(f"symbol names are said to be in section {table.link}, which holds no strings")
    return SymbolTable(data, byteorder, Strings(bytes(sections[table.link].data()), limits))

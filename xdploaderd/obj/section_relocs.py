"""The relocations of a whole section, in columns (libbpf.c, bpf_object__collect_prog_relos).

Nearly all relocations of a large object are loads of a few maps: which map each of them loads is found here for all
at once, so that nobody looks at those instructions one by one.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import lt, or_
from typing import overload

from xdploaderd.errors import RelocationError, error_context
from xdploaderd.insn import CALL, INSN_SIZE, LD_IMM64
from xdploaderd.obj.elf import ElfImage, Symbol
from xdploaderd.obj.elf_sections import Section
from xdploaderd.obj.externs import is_extern
from xdploaderd.obj.places import MapPlaces
from xdploaderd.obj.spec import MapRef


class MapLoads(Sequence[MapRef]):
    """The references of a function that refers to nothing but maps; each is made when asked for."""

    __slots__ = ("_maps", "_offsets", "_start")

    def __init__(self, offsets: Sequence[int], maps: Sequence[str], start: int) -> None:
        self._offsets = offsets  # in bytes from the start of the section
        self._maps = maps
        self._start = start

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, at: int) -> MapRef: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[MapRef]: ...

    def __getitem__(self, at: int | slice) -> MapRef | Sequence[MapRef]:
        return tuple(self)[at]

    def __iter__(self) -> Iterator[MapRef]:
        return map(MapRef, ((offset - self._start) // INSN_SIZE for offset in self._offsets), self._maps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True)
class SectionRelocs:
    """The relocations of one section, one at most for an instruction: offsets in bytes, ascending, each one's symbol.

    `maps`: the map that the 64-bit load there takes; '' for any other instruction or symbol. `codes`: the opcode of
    every instruction of the section.
    """

    offsets: Sequence[int]
    symbols: Sequence[int]
    maps: Sequence[str]
    codes: bytes

    def between(self, start: int, end: int) -> tuple[Mapping[int, int], Mapping[int, str]]:
        """Return symbols and maps of slots `start` to `end` (not included), by slot counted from `start`."""
        first, last = self._bounds(start, end)
        slots = [offset // INSN_SIZE - start for offset in self.offsets[first:last]]
        symbols, maps = self.symbols[first:last], self.maps[first:last]
        return dict(zip(slots, symbols, strict=True)), dict(zip(slots, maps, strict=True))

    def loads_of_maps(self, start: int, end: int) -> MapLoads | None:
        """Return the references of these slots where they are loads of maps, and no calls, alone; None otherwise."""
        first, last = self._bounds(start, end)
        maps, codes = self.maps[first:last], self.codes
        others = codes.count(LD_IMM64, start, end) != last - first or codes[end - 1] == LD_IMM64
        if others or "" in maps or codes.find(CALL, start, end) >= 0:
            return None
        return MapLoads(self.offsets[first:last], maps, start * INSN_SIZE)

    def _bounds(self, start: int, end: int) -> tuple[int, int]:
        first = bisect_left(self.offsets, start * INSN_SIZE)
        return first, bisect_left(self.offsets, end * INSN_SIZE, first)


def section_relocs(image: ElfImage, section: Section, places: MapPlaces) -> SectionRelocs:
    """Read and check the relocations of a program section. RelocationError tells which one is in a wrong place."""
    offsets, symbols = image.reloc_columns(section)
    if not all(map(lt, offsets, offsets[1:])):  # compilers write them in order
        if len(by_offset := dict(zip(offsets, symbols, strict=True))) < len(offsets):
            _refuse_place(section, offsets)
        offsets, symbols = sorted(offsets), [by_offset[offset] for offset in sorted(offsets)]
    if offsets and (offsets[-1] >= section.size or reduce(or_, offsets) % INSN_SIZE):
        _refuse_place(section, image.reloc_columns(section)[0])
    code = bytes(section.data())
    maps = list(map(_map_symbols(image, symbols, places).__getitem__, symbols))
    loads = bytes(map(code.__getitem__, offsets))
    return SectionRelocs(offsets, symbols, _loaded(maps, loads), code[::INSN_SIZE])


def _loaded(maps: Sequence[str], loads: bytes) -> Sequence[str]:
    """Return the maps that instructions with these opcodes load."""
    if loads.count(LD_IMM64) == len(loads):
        return maps
    return [name if code == LD_IMM64 else "" for code, name in zip(loads, maps, strict=True)]


def _map_symbols(image: ElfImage, symbols: Iterable[int], places: MapPlaces) -> Mapping[int, str]:
    """Return the map that each symbol stands for by its definition, by number; '' for what is none."""
    return {number: _map_name(image.symbols[number], places) for number in set(symbols)}


def _map_name(symbol: Symbol, places: MapPlaces) -> str:
    if symbol.section in places.data or is_extern(symbol):
        return ""
    return places.at.get((symbol.section, symbol.value), "")


def _refuse_place(section: Section, offsets: Sequence[int]) -> None:
    """Raise RelocationError for the first offset that is no instruction, or one that another relocation has."""
    seen: set[int] = set()
    for number, offset in enumerate(offsets):
        with error_context(f"relo #{number} of section '{section.name}'"):
            slot, rest = divmod(offset, INSN_SIZE)
            if rest or offset >= section.size:
                raise RelocationError(f"offset {offset:#x} is no instruction of {section.size} bytes of code")
            if slot in seen:
                raise RelocationError(f"instruction {slot} has two relocations")
            seen.add(slot)

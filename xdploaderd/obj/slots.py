"""What maps of maps and program arrays hold from the start: `.values` initialisers (libbpf.c, collect_map_relos)."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import RelocationError, error_context
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.btf_maps import MAP_IN_MAP_TYPES, map_variable_types, values_offset
from xdploaderd.obj.elf import ElfImage, ElfReloc, Symbol
from xdploaderd.obj.elf_sections import Section
from xdploaderd.obj.functions import Function
from xdploaderd.obj.metadata import ObjectTypes
from xdploaderd.obj.places import PlacedMap
from xdploaderd.uapi.bpf import MapType

_POINTER_SIZE = 8  # BPF pointers are 64 bits wide on every machine
_FD_SIZE = 4

Slots = Mapping[str, Mapping[int, str]]


def initial_slots(
    image: ElfImage,
    section: Section,
    types: ObjectTypes,
    maps: Sequence[PlacedMap],
    functions: Sequence[Function],
) -> Slots:
    """Return, by name of the holding map, the maps or programs put into its slots by relocations of `section`."""
    btf, described = types.btf, types.sections.get(section.name)
    if btf is None or described is None:
        return {}
    type_ids = map_variable_types(btf, described)
    ordered = sorted((item for item in maps if item.section == section.number), key=lambda item: item.offset or 0)
    starts = [item.offset or 0 for item in ordered]
    names = {item.offset: item.spec.name for item in ordered}
    entries = {(f.section.number, f.insn_off * INSN_SIZE): f.name for f in functions if not f.is_subprogram()}
    found: dict[str, dict[int, str]] = {}
    for number, reloc in enumerate(image.relocs(section)):
        with error_context(f"relo #{number} of section '{section.name}'"):
            holder = _holder(ordered, starts, reloc)
            symbol = image.symbols[reloc.symbol]
            with error_context(f"map '{holder.spec.name}'"):
                slot = _slot(btf, holder, reloc, type_ids.get(holder.spec.name, 0))
                target = _target(holder, symbol, section, names, entries)
                found.setdefault(holder.spec.name, {})[slot] = target
    return found


def _holder(ordered: Sequence[PlacedMap], starts: Sequence[int], reloc: ElfReloc) -> PlacedMap:
    at = bisect_right(starts, reloc.offset) - 1
    if at < 0 or reloc.offset + _POINTER_SIZE > starts[at] + ordered[at].size:
        raise RelocationError(f"offset {reloc.offset:#x} lies in no map")
    return ordered[at]


def _slot(btf: Btf, holder: PlacedMap, reloc: ElfReloc, type_id: int) -> int:
    values = values_offset(btf, type_id)
    if values is None:
        raise RelocationError("has no member 'values' that could be initialised")
    offset = reloc.offset - (holder.offset or 0) - values
    if offset < 0 or offset % _POINTER_SIZE:
        raise RelocationError(f"initialises byte {offset} of its values, want a multiple of {_POINTER_SIZE}")
    return offset // _POINTER_SIZE


def _target(
    holder: PlacedMap,
    symbol: Symbol,
    section: Section,
    maps: Mapping[int | None, str],
    entries: Mapping[tuple[int, int], str],
) -> str:
    if holder.spec.type in MAP_IN_MAP_TYPES:
        if symbol.section != section.number or symbol.value not in maps:
            raise RelocationError(f"'{symbol.name}' is no map of section '{section.name}'")
        if holder.spec.type == MapType.HASH_OF_MAPS and holder.spec.key_size != _FD_SIZE:
            raise RelocationError(f"key has {holder.spec.key_size} bytes, want {_FD_SIZE} for initial values")
        return maps[symbol.value]
    if holder.spec.type != MapType.PROG_ARRAY:
        raise RelocationError("is neither a map of maps nor a program array, and cannot hold initial values")
    if (symbol.section, symbol.value) not in entries:
        raise RelocationError(f"'{symbol.name}' is no program of its own")
    return entries[symbol.section, symbol.value]

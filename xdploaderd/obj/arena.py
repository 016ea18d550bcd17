"""Global variables of an arena: section .addr_space.1 begins the memory of the object's arena map (libbpf.c)."""

from collections.abc import Sequence
from dataclasses import replace

from xdploaderd.errors import ObjectError
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import SectionType
from xdploaderd.obj.places import PlacedMap
from xdploaderd.uapi.bpf import MapType

ARENA_SECTION = ".addr_space.1"


def with_arena_data(image: ElfImage, placed: Sequence[PlacedMap]) -> tuple[PlacedMap, ...]:
    """Return the maps with the variables' bytes as contents of the arena.

    ObjectError for variables without an arena and for a second arena, LimitError for too many bytes.
    """
    arenas = [item.spec for item in placed if item.spec.type == MapType.ARENA]
    if len(arenas) > 1:
        raise ObjectError(f"maps '{arenas[0].name}' and '{arenas[1].name}' are arenas, want one at most")
    section = image.section(ARENA_SECTION)
    if section is None or section.type != SectionType.PROGBITS or not section.size:
        return tuple(placed)
    if not arenas:
        raise ObjectError(f"section '{ARENA_SECTION}' holds variables, but no map is an arena")
    if section.size > image.limits.data_bytes:
        raise over_limit(image.limits, "data_bytes", f"arena variables of {section.size} bytes", "loaded")
    contents = bytes(section.data())
    return tuple(
        item._replace(spec=replace(item.spec, contents=contents)) if item.spec is arenas[0] else item for item in placed
    )


def arena_places(image: ElfImage, placed: Sequence[PlacedMap]) -> tuple[PlacedMap, ...]:
    """Return where symbols of the arena's variables point."""
    section = image.section(ARENA_SECTION)
    found = [item.spec for item in placed if item.spec.type == MapType.ARENA and item.spec.contents is not None]
    return tuple(PlacedMap(spec, section.number, None) for spec in found) if section else ()

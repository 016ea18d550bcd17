"""The maps behind .data, .rodata, .bss and .kconfig (libbpf.c, bpf_object__init_global_data_maps)."""

import re
from collections.abc import Iterator, Mapping

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Linkage, Var
from xdploaderd.errors import LimitError
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import Section, SectionType
from xdploaderd.obj.layout import DescribedSection, effective_linkage
from xdploaderd.obj.places import PlacedMap
from xdploaderd.obj.spec import KCONFIG_MAP, ExternKind, ExternSpec, MapSpec
from xdploaderd.uapi.bpf import BPF_OBJ_NAME_LEN, MapFlags, MapType

_NAME_MAX = BPF_OBJ_NAME_LEN - 1
_SUFFIX_ROOM = 7  # bytes of a map name kept for the section's name, so that `.rodata` always fits


def read_data_maps(
    image: ElfImage, object_name: str, btf: Btf | None, described: Mapping[str, DescribedSection]
) -> tuple[PlacedMap, ...]:
    """Return one map for each non-empty data section, in section order; LimitError when they are too large."""
    sections = [section for section in image.sections if _is_data(section)]
    total = sum(section.size for section in sections)
    if total > image.limits.data_bytes:
        largest = max(sections, key=lambda section: section.size)
        raise over_limit(
            image.limits,
            "data_bytes",
            f"global data of {total} bytes ('{largest.name}' has {largest.size})",
            "loaded",
        )
    if sum(len(section.view) for section in sections) > len(image.raw):
        raise LimitError("data sections overlap: together they are longer than the file")
    return tuple(
        PlacedMap(_data_map(section, object_name, btf, described.get(section.name)), section.number, None)
        for section in sections
    )


def kconfig_map(
    externs: Mapping[str, ExternSpec], object_name: str, described: DescribedSection | None
) -> Iterator[MapSpec]:
    """Yield the map that holds values of the kernel's configuration, if any extern asks for one."""
    size = max((e.offset + e.size for e in externs.values() if e.kind is ExternKind.KCONFIG), default=0)
    if size:
        name = internal_map_name(object_name, KCONFIG_MAP)
        yield MapSpec(
            name=name,
            kernel_name=name,
            type=int(MapType.ARRAY),
            key_size=4,
            value_size=size,
            max_entries=1,
            flags=int(MapFlags.RDONLY_PROG | MapFlags.MMAPABLE),
            value_type_id=described.type_id if described else 0,
            freeze=True,
            section=KCONFIG_MAP,
            rule="section",
        )


def internal_map_name(object_name: str, section: str) -> str:
    """Return the kernel's name of a data map: object and section, or the section alone when it has a second dot."""
    suffix = min(max(_SUFFIX_ROOM, len(section)), _NAME_MAX)
    prefix = "" if "." in section[1:] else object_name[: _NAME_MAX - suffix]
    return re.sub(r"[^A-Za-z0-9_.]", "_", prefix + section[:suffix])


def _is_data(section: Section) -> bool:
    if not section.size or section.is_program():
        return False
    if section.type == SectionType.NOBITS:
        return _is_named(section, ".bss")
    return section.type == SectionType.PROGBITS and (_is_named(section, ".data") or _is_named(section, ".rodata"))


def _is_named(section: Section, name: str) -> bool:
    return section.name == name or section.name.startswith(f"{name}.")


def _data_map(section: Section, object_name: str, btf: Btf | None, described: DescribedSection | None) -> MapSpec:
    read_only = _is_named(section, ".rodata")
    mmapable = btf is not None and described is not None and _has_global(btf, described)
    flags = (MapFlags.RDONLY_PROG if read_only else 0) | (MapFlags.MMAPABLE if mmapable else 0)
    kernel_name = internal_map_name(object_name, section.name)
    custom = section.type != SectionType.NOBITS and section.name not in (".data", ".rodata")
    return MapSpec(
        name=section.name if custom else kernel_name,
        kernel_name=kernel_name,
        type=int(MapType.ARRAY),
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=int(flags),
        value_type_id=described.type_id if described else 0,
        contents=None if section.type == SectionType.NOBITS else bytes(section.data()),
        freeze=read_only,
        section=section.name,
        rule="section",
    )


def _has_global(btf: Btf, described: DescribedSection) -> bool:
    """Tell whether a variable is visible outside the object, so that somebody may want to map it into memory."""
    layout = described.layout
    variables = (btf.type_by_id(entry.type_id) for entry in described.datasec.vars)
    return layout is not None and any(
        isinstance(var, Var) and effective_linkage(var, layout) != Linkage.STATIC for var in variables
    )

"""The maps behind .data, .rodata, .bss and .kconfig (libbpf.c, bpf_object__init_global_data_maps)."""

import re
from collections.abc import Iterator, Mapping

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Linkage, Var
from xdploaderd.errors import LimitError
from xdploaderd.obj.elf import ElfImage, Section, SectionType
from xdploaderd.obj.layout import effective_linkage, find_datasec
from xdploaderd.obj.places import PlacedMap
from xdploaderd.obj.spec import KCONFIG_MAP, DatasecLayout, ExternKind, ExternSpec, MapSpec
from xdploaderd.uapi.bpf import BPF_OBJ_NAME_LEN, MapFlags, MapType

_NAME_MAX = BPF_OBJ_NAME_LEN - 1
_SUFFIX_ROOM = 7  # bytes of a map name kept for the section's name, so that `.rodata` always fits


def read_data_maps(
    image: ElfImage, object_name: str, btf: Btf | None, layouts: Mapping[str, DatasecLayout]
) -> tuple[PlacedMap, ...]:
    """Return one map for each non-empty data section, in section order; LimitError when they are too large."""
    sections = [section for section in image.sections if _is_data(section)]
    total = sum(section.size for section in sections)
    if total > image.limits.data_bytes:
        largest = max(sections, key=lambda section: section.size)
        raise LimitError(
            f"global data of {total} bytes ('{largest.name}' has {largest.size}),"
            f" at most {image.limits.data_bytes} are loaded"
        )
    return tuple(
        PlacedMap(_data_map(section, object_name, btf, layouts.get(section.name)), section.index, None)
        for section in sections
    )


def kconfig_map(externs: Mapping[str, ExternSpec], object_name: str, btf: Btf | None) -> Iterator[MapSpec]:
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
            value_type_id=_datasec_id(btf, KCONFIG_MAP),
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


def _data_map(section: Section, object_name: str, btf: Btf | None, layout: DatasecLayout | None) -> MapSpec:
    read_only = _is_named(section, ".rodata")
    mmapable = btf is not None and layout is not None and _has_global(btf, section.name, layout)
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
        value_type_id=_datasec_id(btf, section.name),
        contents=None if section.type == SectionType.NOBITS else bytes(section.data()),
        freeze=read_only,
        section=section.name,
        rule="section",
    )


def _datasec_id(btf: Btf | None, name: str) -> int:
    return next(iter(btf.ids_by_name(name, {BtfKind.DATASEC})), 0) if btf else 0


def _has_global(btf: Btf, section: str, layout: DatasecLayout) -> bool:
    """Tell whether a variable is visible outside the object, so that somebody may want to map it into memory."""
    datasec = find_datasec(btf, section)
    variables = (btf.type_by_id(entry.type_id) for entry in datasec.vars) if datasec else ()
    return any(isinstance(var, Var) and effective_linkage(var, layout) != Linkage.STATIC for var in variables)

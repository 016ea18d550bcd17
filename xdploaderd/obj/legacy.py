"""Maps of the legacy dialect: records of section `maps` to MapSpecs, and maps of maps by id or by pointer.

Mirrors iproute2 lib/bpf_legacy.c, and refuses what it reads by chance: static, weak and aliased maps, and records of
different sizes. legacy_records knows the records themselves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite
from xdploaderd.errors import BtfError, ObjectError, error_context
from xdploaderd.obj.btf_maps import MAP_IN_MAP_TYPES
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import Section, SectionType
from xdploaderd.obj.legacy_records import RULE_GOEBPF, WRITTEN_AS, Record, read_records
from xdploaderd.obj.places import PlacedMap, kernel_name
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapFlags, MapType

LEGACY_MAPS_SECTION = "maps"

_NO_SLOT = 0xFFFFFFFF  # inner_idx of a map that is a template only
_FD_SIZE = 4
_INDEX_SIZE = 4
_FD_VALUES = MAP_IN_MAP_TYPES | {MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY}
_INDEXED = frozenset(
    {
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
        MapType.ARRAY_OF_MAPS,
        MapType.PROG_ARRAY,
        MapType.PERF_EVENT_ARRAY,
    }
)


def has_legacy_maps(image: ElfImage) -> bool:
    """Tell whether a section holds maps of the legacy dialect."""
    return any(_is_maps_section(section) for section in image.sections)


def read_legacy_maps(image: ElfImage, btf: Btf | None) -> tuple[PlacedMap, ...]:
    """Return the maps of section `maps` in address order; ObjectError names the map that cannot be read."""
    sections = [section for section in image.sections if _is_maps_section(section)]
    if not sections:
        return ()
    if len(sections) > 1:
        raise ObjectError("two sections are named 'maps'")
    section = sections[0]
    with error_context(f"section '{section.name}'"):
        records = read_records(image, section, btf)
        specs = [_spec(record, records, btf) for record in records]
    return tuple(PlacedMap(spec, section.number, record.offset) for spec, record in zip(specs, records, strict=True))


def reading_rules(specs: Iterable[MapSpec]) -> str:
    """Return in words by which rule each legacy map was read; empty when there is none."""
    names: dict[str, list[str]] = {}
    for spec in specs:
        if spec.is_legacy:
            names.setdefault(spec.rule, []).append(spec.name)
    if len(names) == 1:
        return f"read as struct {WRITTEN_AS[next(iter(names))]}"
    return "; ".join(f"{', '.join(of)} read as struct {WRITTEN_AS[rule]}" for rule, of in names.items())


def _is_maps_section(section: Section) -> bool:
    return section.name == LEGACY_MAPS_SECTION and section.type == SectionType.PROGBITS and section.size > 0


def _spec(record: Record, records: Sequence[Record], btf: Btf | None) -> MapSpec:
    with error_context(f"map '{record.name}'"):
        plain = _plain_spec(record, btf)
        if record.type not in MAP_IN_MAP_TYPES:
            return plain
        template = replace(
            _plain_spec(_inner_template(record, records), btf),
            name=f"{record.name}.inner",
            kernel_name=kernel_name(f"{record.name}.inner"),
            pinning=0,
            pin_path="",
        )
        slots = dict(_inner_slots(record, records))
        return replace(plain, value_size=_FD_SIZE, inner=template, slots=slots)


def _plain_spec(record: Record, btf: Btf | None) -> MapSpec:
    key_type_id, value_type_id = _annotated_types(btf, record)
    spec = MapSpec(
        name=record.name,
        kernel_name=kernel_name(record.name),
        type=record.type,
        key_size=record.size_key,
        value_size=record.size_value,
        max_entries=record.max_elem,
        flags=record.flags,
        pinning=record.pinning,
        key_type_id=key_type_id,
        value_type_id=value_type_id,
        legacy_id=record.id,
        pin_path=record.pin_path,
        rule=record.rule,
    )
    return _goebpf_defaults(spec) if record.rule == RULE_GOEBPF else spec


def _goebpf_defaults(spec: MapSpec) -> MapSpec:
    """Return the map with what goebpf's records may leave out, and goebpf fills in when it creates the map."""
    lpm_flag = MapFlags.NO_PREALLOC if spec.type == MapType.LPM_TRIE else 0
    return replace(
        spec,
        key_size=spec.key_size or (_INDEX_SIZE if spec.type in _INDEXED else 0),
        value_size=_FD_SIZE if spec.type in _FD_VALUES else spec.value_size,
        flags=int(spec.flags | lpm_flag),
    )


def _inner_template(outer: Record, records: Sequence[Record]) -> Record:
    """Return the map whose shape the inner maps of `outer` have: the first of that id, or the one pointed to."""
    if outer.rule == RULE_GOEBPF:
        template = next((record for record in records if record.offset == outer.inner_offset), None)
        if template is None:
            raise ObjectError("holds maps, but has no inner_map_def that is a map")
    else:
        template = _first_of_id(outer, records)
    if template.type in MAP_IN_MAP_TYPES:
        raise ObjectError(f"inner map '{template.name}' holds maps itself")
    return template


def _first_of_id(outer: Record, records: Sequence[Record]) -> Record:
    if not outer.inner_id:
        raise ObjectError("holds maps, but has no inner_id")
    template = next((record for record in records if record.id == outer.inner_id), None)
    if template is None:
        raise ObjectError(f"no map has the inner_id {outer.inner_id}")
    return template


def _inner_slots(outer: Record, records: Sequence[Record]) -> Iterator[tuple[int, str]]:
    for record in records if outer.inner_id else ():
        if record.id != outer.inner_id or record.inner_id or record.inner_idx == _NO_SLOT:
            continue
        if outer.type == MapType.ARRAY_OF_MAPS and record.inner_idx >= outer.max_elem:
            raise ObjectError(f"inner map '{record.name}' wants slot {record.inner_idx} of {outer.max_elem}")
        if outer.size_key != _FD_SIZE:
            raise ObjectError(f"key has {outer.size_key} bytes, want {_FD_SIZE} to be filled by inner_idx")
        yield record.inner_idx, record.name


def _annotated_types(btf: Btf | None, record: Record) -> tuple[int, int]:
    """Return the key and value types of BPF_ANNOTATE_KV_PAIR; (0, 0) where there are none of the record's sizes."""
    for type_id in btf.ids_by_name(f"____btf_map_{record.name}", {BtfKind.STRUCT}) if btf else ():
        found = btf.type_by_id(type_id) if btf else None
        if not btf or not isinstance(found, Composite) or [m.name for m in found.members] != ["key", "value"]:
            continue
        key, value = (member.type_id for member in found.members)
        try:
            if (btf.size_of(key), btf.size_of(value)) == (record.size_key, record.size_value):
                return key, value
        except BtfError:
            continue  # a load never fails for want of annotations
    return 0, 0

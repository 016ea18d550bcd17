"""iproute2's maps: struct bpf_elf_map in section `maps`, and maps of maps by id.

Mirrors iproute2 lib/bpf_legacy.c and include/bpf_elf.h, and refuses what it reads by chance: static, weak and aliased
maps, and records of different sizes. Records of libbpf before 1.0 (struct bpf_map_def) are told by BTF alone.
"""

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite, Var
from xdploaderd.errors import BtfError, LimitError, ObjectError, error_context
from xdploaderd.obj.btf_maps import MAP_IN_MAP_TYPES
from xdploaderd.obj.elf import ElfImage, Section, SectionType, SymBind, Symbol, SymType
from xdploaderd.obj.places import PlacedMap, kernel_name
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapType

LEGACY_MAPS_SECTION = "maps"
RULE_ELF_MAP = "bpf_elf_map"
RULE_MAP_DEF = "bpf_map_def"

_MAX_MAPS = 64  # ELF_MAX_MAPS
_WORD = 4
_ELF_MAP_MIN, _ELF_MAP_SIZE = 16, 36
_MAP_DEF_MIN, _MAP_DEF_MAX = 20, 28
_NO_SLOT = 0xFFFFFFFF  # inner_idx of a map that is a template only
_FD_SIZE = 4
_BIND_NAMES = {int(SymBind.LOCAL): "static", int(SymBind.WEAK): "weak"}


@dataclass(frozen=True, slots=True)
class _Record:
    """struct bpf_elf_map as words: see include/bpf_elf.h; members a shorter record lacks are 0."""

    name: str
    offset: int
    rule: str
    type: int
    size_key: int
    size_value: int
    max_elem: int
    flags: int
    id: int
    pinning: int
    inner_id: int
    inner_idx: int

    def is_outer(self) -> bool:
        """Tell whether the map holds maps."""
        return self.type in MAP_IN_MAP_TYPES


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
        records = _read_records(image, section, btf)
        specs = [_spec(record, records, btf) for record in records]
    return tuple(PlacedMap(spec, section.index, record.offset) for spec, record in zip(specs, records, strict=True))


def _is_maps_section(section: Section) -> bool:
    return section.name == LEGACY_MAPS_SECTION and section.type == SectionType.PROGBITS and section.size > 0


def _read_records(image: ElfImage, section: Section, btf: Btf | None) -> tuple[_Record, ...]:
    symbols = _map_symbols(image, section)
    length = _record_length(section, symbols)
    data, order = section.data(), "<" if image.byteorder == "little" else ">"
    found = []
    for symbol in symbols:
        with error_context(f"map '{symbol.name}'"):
            raw = bytes(data[symbol.value : symbol.value + length])
            found.append(_read_record(symbol, raw, order, _struct_name(btf, symbol.name)))
    return tuple(found)


def _map_symbols(image: ElfImage, section: Section) -> tuple[Symbol, ...]:
    """Return the symbols of the maps by address; static, weak and aliased maps are refused by name."""
    candidates = [s for s in image.symbols_in(section) if s.name and s.type in (SymType.NOTYPE, SymType.OBJECT)]
    for symbol in candidates:
        if symbol.bind != SymBind.GLOBAL:
            kind = _BIND_NAMES.get(symbol.bind, "not global")
            raise ObjectError(f"map '{symbol.name}' is {kind}, want a global map")
    ordered = sorted(candidates, key=lambda symbol: symbol.value)
    for one, other in itertools.pairwise(ordered):
        if one.value == other.value:
            raise ObjectError(f"maps '{one.name}' and '{other.name}' are at the same place")
    if not ordered:
        raise ObjectError("no symbol names a map")
    if len(ordered) > _MAX_MAPS:
        raise LimitError(f"{len(ordered)} maps, at most {_MAX_MAPS} are read")
    return tuple(ordered)


def _record_length(section: Section, symbols: Sequence[Symbol]) -> int:
    """Return the bytes of one record, which nothing but the number of symbols tells."""
    length, rest = divmod(section.size, len(symbols))
    misplaced = next((s for at, s in enumerate(symbols) if s.value != at * length), None)
    if rest or length % _WORD or misplaced:
        where = f" ('{misplaced.name}' is at byte {misplaced.value})" if misplaced else ""
        raise ObjectError(f"{section.size} bytes for {len(symbols)} maps, want records of one size{where}")
    if length < _ELF_MAP_MIN:
        raise ObjectError(f"records of {length} bytes are too small, want {_ELF_MAP_MIN} to {_ELF_MAP_SIZE}")
    if length > _ELF_MAP_SIZE:
        raise ObjectError(
            f"records of {length} bytes are newer than those known here, want {_ELF_MAP_MIN} to {_ELF_MAP_SIZE}"
        )
    return length


def _struct_name(btf: Btf | None, variable: str) -> str:
    """Return the name of a map variable's structure; empty without BTF that says so."""
    for type_id in btf.ids_by_name(variable, {BtfKind.VAR}) if btf else ():
        var = btf.type_by_id(type_id) if btf else None
        if btf and isinstance(var, Var):
            return btf.name_of(btf.skip_mods_and_typedefs(var.type_id))
    return ""


def _read_record(symbol: Symbol, raw: bytes, order: str, struct_name: str) -> _Record:
    is_map_def = struct_name == RULE_MAP_DEF
    if is_map_def:
        if not _MAP_DEF_MIN <= len(raw) <= _MAP_DEF_MAX:
            raise ObjectError(f"struct {RULE_MAP_DEF} has {len(raw)} bytes, want {_MAP_DEF_MIN} to {_MAP_DEF_MAX}")
        if any(raw[_MAP_DEF_MIN:]):
            raise ObjectError(f"struct {RULE_MAP_DEF} has values behind byte {_MAP_DEF_MIN}, whose meaning is unknown")
    words = struct.unpack(f"{order}9I", raw.ljust(_ELF_MAP_SIZE, b"\0"))
    return _Record(symbol.name, symbol.value, RULE_MAP_DEF if is_map_def else RULE_ELF_MAP, *words)


def _spec(record: _Record, records: Sequence[_Record], btf: Btf | None) -> MapSpec:
    with error_context(f"map '{record.name}'"):
        plain = _plain_spec(record, btf)
        if not record.is_outer():
            return plain
        template = replace(
            _plain_spec(_inner_template(record, records), btf),
            name=f"{record.name}.inner",
            kernel_name=kernel_name(f"{record.name}.inner"),
            pinning=0,
        )
        slots = dict(_inner_slots(record, records))
        return replace(plain, value_size=_FD_SIZE, inner=template, slots=slots)


def _plain_spec(record: _Record, btf: Btf | None) -> MapSpec:
    key_type_id, value_type_id = _annotated_types(btf, record)
    return MapSpec(
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
        rule=record.rule,
    )


def _inner_template(outer: _Record, records: Sequence[_Record]) -> _Record:
    """Return the map whose shape the inner maps of `outer` have: the first of that id."""
    if not outer.inner_id:
        raise ObjectError("holds maps, but has no inner_id")
    template = next((record for record in records if record.id == outer.inner_id), None)
    if template is None:
        raise ObjectError(f"no map has the inner_id {outer.inner_id}")
    if template.is_outer():
        raise ObjectError(f"inner map '{template.name}' holds maps itself")
    return template


def _inner_slots(outer: _Record, records: Sequence[_Record]) -> Iterator[tuple[int, str]]:
    for record in records:
        if record.id != outer.inner_id or record.inner_id or record.inner_idx == _NO_SLOT:
            continue
        if outer.type == MapType.ARRAY_OF_MAPS and record.inner_idx >= outer.max_elem:
            raise ObjectError(f"inner map '{record.name}' wants slot {record.inner_idx} of {outer.max_elem}")
        if outer.size_key != _FD_SIZE:
            raise ObjectError(f"key has {outer.size_key} bytes, want {_FD_SIZE} to be filled by inner_idx")
        yield record.inner_idx, record.name


def _annotated_types(btf: Btf | None, record: _Record) -> tuple[int, int]:
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

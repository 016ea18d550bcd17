"""Records of section `maps`, by whose rule they are read, and what their words are.

Three structures share the section: struct bpf_elf_map of iproute2 (include/bpf_elf.h, 16 to 36 bytes), that of libbpf
before 1.0 (struct bpf_map_def, told by BTF alone), and goebpf's of 40 bytes, whose two pointers relocations fill.
"""

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite, Var
from xdploaderd.errors import LimitError, ObjectError, error_context
from xdploaderd.obj.elf import ElfImage, ElfReloc, SymBind, Symbol, SymType
from xdploaderd.obj.elf_sections import Section
from xdploaderd.printable import quoted

RULE_ELF_MAP = "bpf_elf_map"
RULE_MAP_DEF = "bpf_map_def"
RULE_GOEBPF = "goebpf"
WRITTEN_AS = {
    RULE_ELF_MAP: "bpf_elf_map (iproute2)",
    RULE_MAP_DEF: "bpf_map_def (libbpf before 1.0)",
    RULE_GOEBPF: "bpf_map_def (goebpf)",
}

_MAX_MAPS = 64  # ELF_MAX_MAPS
_WORD = 4
_ELF_MAP_MIN, _ELF_MAP_SIZE = 16, 36
_ELF_MAP_OWN_MEMBERS = frozenset({"id", "pinning", "inner_id", "inner_idx"})
_MAP_DEF_MIN, _MAP_DEF_MAX = 20, 28
_GOEBPF_SIZE, _GOEBPF_INNER, _GOEBPF_PATH, _POINTER = 40, 24, 32, 8
_PATH_MAX = 4096  # bytes of a pin path, as the kernel's
_BIND_NAMES = {int(SymBind.LOCAL): "static", int(SymBind.WEAK): "weak"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """struct bpf_elf_map as words (members a shorter record lacks are 0), and what goebpf's pointers lead to."""

    name: str
    offset: int
    rule: str
    type: int
    size_key: int
    size_value: int
    max_elem: int
    flags: int
    id: int = 0
    pinning: int = 0
    inner_id: int = 0
    inner_idx: int = 0
    inner_offset: int | None = None  # of the inner map's record in the section
    pin_path: str = ""


def read_records(image: ElfImage, section: Section, btf: Btf | None) -> tuple[Record, ...]:
    """Return the records by address; ObjectError names the map that cannot be read and why."""
    symbols = _map_symbols(image, section)
    length = _record_length(section, symbols)
    relocs = {reloc.offset: reloc for reloc in image.relocs(section)}
    data, found = section.data(), []
    for symbol in symbols:
        with error_context(f"map {quoted(symbol.name)}"):
            raw = bytes(data[symbol.value : symbol.value + length])
            if length == _GOEBPF_SIZE:
                found.append(_goebpf_record(image, symbol, raw, relocs))
            else:
                found.append(_record(symbol, raw, _order(image), _rule(btf, symbol.name, length)))
    return tuple(found)


def _order(image: ElfImage) -> str:
    return "<" if image.byteorder == "little" else ">"


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
    if length > _ELF_MAP_SIZE and length != _GOEBPF_SIZE:
        raise _newer(length)
    return length


def _newer(length: int) -> ObjectError:
    return ObjectError(
        f"records of {length} bytes are newer than those known here, want {_ELF_MAP_MIN} to {_ELF_MAP_SIZE}"
    )


def _rule(btf: Btf | None, variable: str, length: int) -> str:
    """Return by which rule a record is read: libbpf's only where BTF says that the structure is libbpf's."""
    found = _struct_of(btf, variable)
    if found is None or found.name != RULE_MAP_DEF or not _MAP_DEF_MIN <= length <= _MAP_DEF_MAX:
        return RULE_ELF_MAP
    return RULE_ELF_MAP if _ELF_MAP_OWN_MEMBERS & {m.name for m in found.members} else RULE_MAP_DEF


def _struct_of(btf: Btf | None, variable: str) -> Composite | None:
    """Return the structure of a map variable; None without BTF that tells it."""
    for type_id in btf.ids_by_name(variable, {BtfKind.VAR}) if btf else ():
        var = btf.type_by_id(type_id) if btf else None
        if btf and isinstance(var, Var):
            found = btf.type_by_id(btf.skip_mods_and_typedefs(var.type_id))
            return found if isinstance(found, Composite) else None
    return None


def _record(symbol: Symbol, raw: bytes, order: str, rule: str) -> Record:
    if rule == RULE_MAP_DEF and any(raw[_MAP_DEF_MIN:]):
        raise ObjectError(f"struct {RULE_MAP_DEF} has values behind byte {_MAP_DEF_MIN}, whose meaning is unknown")
    names = ("type", "size_key", "size_value", "max_elem", "flags", "id", "pinning", "inner_id", "inner_idx")
    words = struct.unpack(f"{order}9I", raw.ljust(_ELF_MAP_SIZE, b"\0"))
    return Record(name=symbol.name, offset=symbol.value, rule=rule, **dict(zip(names, words, strict=True)))


def _goebpf_record(image: ElfImage, symbol: Symbol, raw: bytes, relocs: Mapping[int, ElfReloc]) -> Record:
    """Read struct bpf_map_def of goebpf: what its pointers hold without a relocation would mean nothing."""
    *words, padding, inner, path = struct.unpack(f"{_order(image)}6I2Q", raw)
    inner_reloc, path_reloc = (relocs.get(symbol.value + at) for at in (_GOEBPF_INNER, _GOEBPF_PATH))
    if padding or (inner and inner_reloc is None) or (path and path_reloc is None):
        raise _newer(_GOEBPF_SIZE)
    kind, key, value, size, flags = words
    return Record(
        name=symbol.name,
        offset=symbol.value,
        rule=RULE_GOEBPF,
        type=kind,
        size_key=key,
        size_value=value,
        max_elem=size,
        flags=flags,
        inner_offset=_inner_offset(image, symbol.section, inner_reloc, inner) if inner_reloc else None,
        pin_path=_pin_path(image, path_reloc, path) if path_reloc else "",
    )


def _inner_offset(image: ElfImage, section: int, reloc: ElfReloc, addend: int) -> int:
    target = image.symbols[reloc.symbol]
    if target.section != section:
        raise ObjectError(f"inner_map_def leads to '{image.name_of(target)}', want a map of section 'maps'")
    return target.value + addend


def _pin_path(image: ElfImage, reloc: ElfReloc, addend: int) -> str:
    """Return the text that persistent_path points to."""
    target = image.symbols[reloc.symbol]
    if not 0 < target.section < len(image.sections):
        raise ObjectError("persistent_path leads out of the file, want a text")
    start = target.value + addend
    raw = bytes(image.sections[target.section].data()[start : start + _PATH_MAX])
    text, end, _ = raw.partition(b"\0")
    if not end or not text:
        raise ObjectError(f"persistent_path is no text of 1 to {_PATH_MAX - 1} bytes")
    return text.decode("utf-8", "backslashreplace")

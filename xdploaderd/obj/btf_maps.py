"""BTF-defined maps of section .maps (libbpf.c, parse_btf_map_def; bpf_helpers.h, __uint and __type).

A map is a variable of structure type whose members say, by their types alone, what the map is: a number is the length
of the array a member points to, a key or value type is what it points to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, BtfKind, BtfType, Composite, Enum, FuncProto, Linkage, Member, Ref, SecVar, Var
from xdploaderd.errors import BtfError, ObjectError, error_context
from xdploaderd.obj.elf_sections import Section
from xdploaderd.obj.layout import DescribedSection
from xdploaderd.obj.places import PlacedMap, kernel_name
from xdploaderd.obj.spec import LIBBPF_PIN_BY_NAME, PIN_NONE, MapSpec
from xdploaderd.uapi.bpf import MapType

MAPS_SECTION = ".maps"
MAP_IN_MAP_TYPES = frozenset({int(MapType.ARRAY_OF_MAPS), int(MapType.HASH_OF_MAPS)})
_FD_SIZE = 4


@dataclass(slots=True)
class _Definition:
    """A map definition while its members are read; None: not said."""

    type: int = 0
    max_entries: int = 0
    map_flags: int = 0
    numa_node: int = 0
    map_extra: int = 0
    pinning: int = PIN_NONE
    key_size: int | None = None
    value_size: int | None = None
    key_type_id: int = 0
    value_type_id: int = 0
    inner: MapSpec | None = None


def read_btf_maps(
    section: Section, btf: Btf, described: DescribedSection | None, *, strict: bool = True
) -> tuple[PlacedMap, ...]:
    """Return the maps of section .maps in address order; without `strict`, unknown members are passed over."""
    if described is None:
        raise BtfError(f"section '{section.name}' is not described by BTF (was the object built with -g?)")
    return tuple(_placed_maps(section, btf, described.datasec.vars, strict=strict))


def values_offset(btf: Btf, map_type_id: int) -> int | None:
    """Return the byte offset of `values`, the last member of a map definition; None when there is none."""
    definition = btf.type_by_id(btf.skip_mods_and_typedefs(map_type_id))
    if not isinstance(definition, Composite) or not definition.members or definition.members[-1].name != "values":
        return None
    return definition.members[-1].bit_offset // 8


def map_variable_types(btf: Btf, described: DescribedSection) -> Mapping[str, int]:
    """Return the type ids of the variables of a section, by variable name."""
    found = [btf.type_by_id(entry.type_id) for entry in described.datasec.vars]
    return {var.name: var.type_id for var in found if isinstance(var, Var)}


def _placed_maps(section: Section, btf: Btf, variables: tuple[SecVar, ...], *, strict: bool) -> Iterator[PlacedMap]:
    for entry in variables:
        var = btf.type_by_id(entry.type_id)
        if not isinstance(var, Var) or not var.name:
            raise BtfError(f"section '{section.name}' has an unnamed map")
        with error_context(f"map '{var.name}'"):
            if entry.offset + entry.size > section.size:
                raise BtfError(f"reaches to byte {entry.offset + entry.size} of a section of {section.size} bytes")
            if var.linkage != Linkage.GLOBAL:
                raise ObjectError(f"is {_linkage_name(var.linkage)}, want a global map")
            definition = _definition_type(btf, var, entry)
            spec = _read_definition(btf, var.name, definition, strict=strict, inner=False)
            yield PlacedMap(spec, section.number, entry.offset, entry.size)


def _linkage_name(linkage: int) -> str:
    return Linkage(linkage).name.lower() if linkage in set(Linkage) else f"of linkage {linkage}"


def _words_of(kind: BtfKind) -> str:
    if kind is BtfKind.VOID:  # what clang makes of an array of structs in .maps
        return "of no type (is it an array of maps?)"
    name = kind.name.lower()
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _definition_type(btf: Btf, var: Var, entry: SecVar) -> Composite:
    definition = btf.type_by_id(btf.skip_mods_and_typedefs(var.type_id))
    if not isinstance(definition, Composite) or definition.kind is not BtfKind.STRUCT:
        raise BtfError(f"is {_words_of(definition.kind)}, want a struct")
    if definition.size > entry.size:
        raise BtfError(f"definition takes {definition.size} bytes, its variable has {entry.size}")
    return definition


def _read_definition(btf: Btf, name: str, definition: Composite, *, strict: bool, inner: bool) -> MapSpec:
    found = _Definition()
    for position, member in enumerate(definition.members):
        with error_context(f"member '{member.name}'"):
            if inner and member.name in ("values", "pinning"):
                raise ObjectError("an inner map cannot hold maps itself, nor be pinned")
            if member.name == "values":
                target = _values_target(btf, found, member, last=position == len(definition.members) - 1)
                if isinstance(target, Composite):
                    found.inner = _read_definition(btf, f"{name}.inner", target, strict=strict, inner=True)
            elif not _read_member(btf, found, member) and strict:
                raise ObjectError("is no attribute of a map")
    if not found.type:
        raise ObjectError("says no map type")
    return MapSpec(
        name=name,
        kernel_name=kernel_name(name),
        type=found.type,
        key_size=found.key_size or 0,
        value_size=found.value_size or 0,
        max_entries=found.max_entries,
        flags=found.map_flags,
        pinning=found.pinning,
        key_type_id=found.key_type_id,
        value_type_id=found.value_type_id,
        numa_node=found.numa_node,
        map_extra=found.map_extra,
        inner=found.inner,
    )


def _read_member(btf: Btf, found: _Definition, member: Member) -> bool:
    """Take one member into `found`; False when its name is none of a map's attributes."""
    match member.name:
        case "type" | "max_entries" | "map_flags" | "numa_node":
            setattr(found, member.name, _number(btf, member))
        case "map_extra":
            found.map_extra = _long_number(btf, member)
        case "pinning":
            found.pinning = _pinning(_number(btf, member))
        case "key_size":
            found.key_size = _agreed("key", found.key_size, _number(btf, member))
        case "value_size":
            found.value_size = _agreed("value", found.value_size, _number(btf, member))
        case "key":
            found.key_type_id = _pointee(btf, member.type_id)
            found.key_size = _agreed("key", found.key_size, btf.size_of(found.key_type_id))
        case "value":
            found.value_type_id = _pointee(btf, member.type_id)
            found.value_size = _agreed("value", found.value_size, btf.size_of(found.value_type_id))
        case _:
            return False
    return True


def _resolved(btf: Btf, type_id: int) -> BtfType:
    return btf.type_by_id(btf.skip_mods_and_typedefs(type_id))


def _pointee(btf: Btf, type_id: int) -> int:
    found = _resolved(btf, type_id)
    if not isinstance(found, Ref) or found.kind is not BtfKind.PTR:
        raise ObjectError(f"is a {found.kind.name.lower()}, want a pointer")
    return found.type_id


def _number(btf: Btf, member: Member) -> int:
    """Return the number written by __uint(): the length of the array pointed to."""
    array = btf.type_by_id(_pointee(btf, member.type_id))
    if not isinstance(array, Array):
        raise ObjectError(f"is a pointer to a {array.kind.name.lower()}, want one to an array")
    return array.nelems


def _long_number(btf: Btf, member: Member) -> int:
    """Return the number written by __uint(), or by __ulong(): the one value of an enumeration."""
    found = _resolved(btf, member.type_id)
    if not isinstance(found, Enum):
        return _number(btf, member)
    if len(found.values) != 1:
        raise ObjectError(f"is an enum of {len(found.values)} values, want 1")
    return found.values[0][1] & 0xFFFFFFFFFFFFFFFF


def _agreed(what: str, said: int | None, size: int) -> int:
    if said is not None and said != size:
        raise ObjectError(f"{what} size is {size} bytes, another member says {said}")
    return size


def _pinning(value: int) -> int:
    if value not in (PIN_NONE, LIBBPF_PIN_BY_NAME):
        raise ObjectError(f"pinning is {value}, want 0 (none) or 1 (by name)")
    return value


def _values_target(btf: Btf, found: _Definition, member: Member, *, last: bool) -> Composite | FuncProto:
    """Return what `values` points to: the definition of inner maps, or the prototype of programs."""
    map_in_map = found.type in MAP_IN_MAP_TYPES
    if not last:
        raise ObjectError("want it as the last member")
    if not (map_in_map or found.type == MapType.PROG_ARRAY):
        raise ObjectError("only maps of maps and program arrays have it, and `type` must stand before it")
    found.value_size = _agreed("value", found.value_size, _FD_SIZE)
    array = btf.type_by_id(member.type_id)
    if not isinstance(array, Array) or array.nelems:
        raise ObjectError("want an array without a length")
    target = _resolved(btf, _pointee(btf, array.elem_type_id))
    if map_in_map and isinstance(target, Composite) and target.kind is BtfKind.STRUCT:
        return target
    if not map_in_map and isinstance(target, FuncProto):
        return target
    wanted = "a map definition" if map_in_map else "a function prototype"
    raise ObjectError(f"points to a {target.kind.name.lower()}, want {wanted}")

"""What a user sets in an object before it is prepared: variables by name, sizes of maps, maps that are left out.

Between bpf_object__open and bpf_object__load of libbpf: bpf_map__set_initial_value, bpf_map__set_max_entries and
bpf_map__set_autocreate, with names and values checked against the object's BTF.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Datasec, Var
from xdploaderd.errors import OverrideError, error_context
from xdploaderd.obj.layout import complete_datasec
from xdploaderd.obj.spec import KCONFIG_MAP, MapSpec, ObjectSpec
from xdploaderd.obj.struct_ops import is_struct_ops
from xdploaderd.obj.variable_parts import Part, part_of, split_name
from xdploaderd.obj.variable_values import encode_value
from xdploaderd.printable import quoted

MAX_ENTRIES = (1 << 32) - 1
_LISTED_MAX = 8


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable of a data map, or the one that a struct_ops map is."""

    map_name: str
    whole: Part


def set_globals(obj: ObjectSpec, values: Mapping[str, str]) -> ObjectSpec:
    """Return the object with variables of its data sections and struct_ops maps set, or parts of them (`conf.limit`).

    Values are texts, read by the BTF type of what they are for. OverrideError names it: what does not exist or exists
    twice, or a value that its type cannot hold.
    """
    if not values:
        return obj
    with error_context(f"object {quoted(obj.name)}"):
        if obj.btf is None:
            raise OverrideError("the object has no BTF, so that no variable can be set by name")
        found = _variables(obj, obj.btf)
        maps = dict(obj.maps)
        for name, text in values.items():
            with error_context(f"global {quoted(name)}"):
                variable_name, path = split_name(name, found)
                variable = _only(variable_name, found)
                part = part_of(obj.btf, variable.whole, path)
                spec = maps[variable.map_name]
                if is_struct_ops(spec):
                    _check_no_pointer(obj.btf, part)
                raw = encode_value(obj.btf, part.type_id, text, size=part.size, byteorder=obj.byteorder)
                maps[spec.name] = _with_bytes(spec, part.offset, raw)
        return replace(obj, maps=maps)


def set_max_entries(obj: ObjectSpec, sizes: Mapping[str, int]) -> ObjectSpec:
    """Return the object with other numbers of entries of its maps, which must not be data maps."""
    if not sizes:
        return obj
    maps = dict(obj.maps)
    with error_context(f"object {quoted(obj.name)}"):
        for name, entries in sizes.items():
            with error_context(f"map {quoted(name)}"):
                maps[name] = _resized(defined_map(obj, name), entries)
    return replace(obj, maps=maps)


def leave_out_maps(obj: ObjectSpec, names: Iterable[str]) -> ObjectSpec:
    """Return the object without the creation of some maps; a program that really uses one is refused by the kernel."""
    with error_context(f"object {quoted(obj.name)}"):
        unwanted = {defined_map(obj, name).name for name in names}
    maps = {name: replace(spec, autocreate=spec.autocreate and name not in unwanted) for name, spec in obj.maps.items()}
    return replace(obj, maps=maps) if unwanted else obj


def share_maps(obj: ObjectSpec, pins: Mapping[str, str]) -> ObjectSpec:
    """Return the object with maps that are pinned where told, and reused when a fitting one is pinned there already.

    A pin is a path below the root of all pins, or a name in it: what libbpf calls bpf_map__set_pin_path.
    """
    maps = dict(obj.maps)
    with error_context(f"object {quoted(obj.name)}"):
        for name, pin in pins.items():
            if name not in maps or maps[name].section == KCONFIG_MAP:
                known = [other for other, spec in maps.items() if spec.section != KCONFIG_MAP]
                raise OverrideError(
                    f"map {quoted(name)} does not exist{_near(name, known)}", near=_nearest(name, known)
                )
            if not pin:
                raise OverrideError(f"map {quoted(name)} is to be shared at no pin, wanted a name or a path")
            maps[name] = replace(maps[name], pin_path=pin)
    return replace(obj, maps=maps) if pins else obj


def _variables(obj: ObjectSpec, btf: Btf) -> Mapping[str, list[_Variable]]:
    found: dict[str, list[_Variable]] = {}
    for spec in obj.maps.values():
        if is_struct_ops(spec):
            found.setdefault(spec.name, []).append(_Variable(spec.name, Part(spec.value_type_id, 0, spec.value_size)))
        layout = obj.datasecs.get(spec.section)
        if layout is None or spec.section == KCONFIG_MAP:
            continue
        datasec = btf.type_by_id(spec.value_type_id)
        for entry in complete_datasec(btf, datasec, layout).vars if isinstance(datasec, Datasec) else ():
            var = btf.type_by_id(entry.type_id)
            if isinstance(var, Var) and entry.offset + entry.size <= spec.value_size:
                variable = _Variable(spec.name, Part(var.type_id, entry.offset, entry.size))
                found.setdefault(var.name, []).append(variable)
    return found


def _only(name: str, found: Mapping[str, list[_Variable]]) -> _Variable:
    variables = found.get(name, [])
    if len(variables) == 1:
        return variables[0]
    if variables:
        raise OverrideError(f"the object has {len(variables)} static variables of that name")
    raise OverrideError(f"no such variable{_near(name, found)}", near=_nearest(name, found))


def defined_map(obj: ObjectSpec, name: str) -> MapSpec:
    """Return a map that is none of a data section. Raises OverrideError with names like it."""
    spec = obj.maps.get(name)
    if spec is None or spec.section:
        known = [n for n, other in obj.maps.items() if not other.section]
        text = "is a data map, which has one entry" if spec else f"does not exist{_near(name, known)}"
        raise OverrideError(f"map {quoted(name)} {text}", near=_nearest(name, known))
    return spec


def _check_no_pointer(btf: Btf, part: Part) -> None:
    """Refuse a pointer of a struct_ops map: the kernel takes functions there, which relocations of the object name."""
    kind = btf.type_by_id(btf.skip_mods_and_typedefs(part.type_id)).kind
    if kind is BtfKind.PTR:
        raise OverrideError("is a pointer, and those of a struct_ops map are the programs that the object puts there")


def _resized(spec: MapSpec, entries: int) -> MapSpec:
    if not 0 < entries <= MAX_ENTRIES:
        raise OverrideError(f"{entries} entries, wanted a number from 1 to {MAX_ENTRIES}")
    return replace(spec, max_entries=entries)


def _with_bytes(spec: MapSpec, offset: int, raw: bytes) -> MapSpec:
    contents = bytearray(spec.contents if spec.contents is not None else bytes(spec.value_size))
    contents[offset : offset + len(raw)] = raw
    return replace(spec, contents=bytes(contents))


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name[:255], list(known), n=3)


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    if near := _nearest(name, names):
        return f", did you mean {' or '.join(map(quoted, near))}?"
    return f", there is {', '.join(_listed(names))}" if names else ", there is none"


def _listed(names: list[str]) -> Iterator[str]:
    yield from map(quoted, names[:_LISTED_MAX])
    if len(names) > _LISTED_MAX:
        yield f"and {len(names) - _LISTED_MAX} more"

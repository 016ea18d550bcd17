"""struct_ops maps: structures of functions that programs implement for the kernel (libbpf.c, init_struct_ops_maps).

A map is a variable of section .struct_ops or .struct_ops.link; relocations put programs into its pointers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Composite, FuncProto, Ref, SecVar, Var
from xdploaderd.errors import BtfError, ObjectError, RelocationError, error_context
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import Section, SectionType
from xdploaderd.obj.functions import Function
from xdploaderd.obj.layout import DescribedSection
from xdploaderd.obj.metadata import ObjectTypes
from xdploaderd.obj.places import kernel_name
from xdploaderd.obj.spec import MapSpec, ObjectSpec
from xdploaderd.uapi.bpf import MapFlags, MapType, ProgType

STRUCT_OPS_SECTION = ".struct_ops"
LINK_SECTION = ".struct_ops.link"  # its maps are registered by a link
_SECTIONS = (STRUCT_OPS_SECTION, LINK_SECTION, f"?{STRUCT_OPS_SECTION}", f"?{LINK_SECTION}")
_KEY_SIZE = 4


def read_struct_ops(image: ElfImage, types: ObjectTypes, functions: Sequence[Function]) -> Iterator[MapSpec]:
    """Yield the struct_ops maps of an object, section by section, each in address order; `slots`: member -> program.

    ObjectError, BtfError and RelocationError name section, map and what is wrong.
    """
    if types.btf is None:
        return
    sections = [s for s in image.sections if s.name in _SECTIONS and s.type == SectionType.PROGBITS and s.size]
    if sections:
        entries = {(f.section.number, f.insn_off * INSN_SIZE): f.name for f in functions}
        for section in sections:
            with error_context(f"section '{section.name}'"):
                yield from _maps(image, section, types.btf, types.sections.get(section.name), entries)


def members(btf: Btf, type_id: int) -> Composite:
    """Return the structure behind a type id. BtfError when it is none."""
    found = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    if not isinstance(found, Composite) or found.kind is not BtfKind.STRUCT:
        raise BtfError(f"is a {found.kind.name.lower()}, want a struct")
    return found


def is_struct_ops(spec: MapSpec) -> bool:
    """Tell whether a map is a structure of functions."""
    return spec.type == MapType.STRUCT_OPS


def with_wanted_programs(obj: ObjectSpec) -> ObjectSpec:
    """Return the object with autoload of struct_ops programs as the maps that hold them want it.

    A program that maps hold is loaded exactly when one of them is created; libbpf's adjust_struct_ops_autoload.
    """
    wanted: dict[str, bool] = {}
    for spec in filter(is_struct_ops, obj.maps.values()):
        for name in spec.slots.values():
            wanted[name] = wanted.get(name, False) or spec.autocreate
    if all(obj.programs[name].autoload == load for name, load in wanted.items()):
        return obj
    programs = {name: replace(p, autoload=wanted.get(name, p.autoload)) for name, p in obj.programs.items()}
    return replace(obj, programs=programs)


def _maps(
    image: ElfImage,
    section: Section,
    btf: Btf,
    described: DescribedSection | None,
    entries: Mapping[tuple[int, int], str],
) -> Iterator[MapSpec]:
    if described is None:
        raise BtfError("is not described by BTF (was the object built with -g?)")
    rows = described.datasec.vars
    found = [_map(section, btf, row) for row in rows]
    slots = _slots(image, section, btf, list(zip(rows, found, strict=True)), entries)
    yield from (replace(spec, slots=slots.get(spec.name, {})) for spec in found)


def _map(section: Section, btf: Btf, row: SecVar) -> MapSpec:
    var = btf.type_by_id(row.type_id)
    if not isinstance(var, Var) or not var.name:
        raise BtfError("has an unnamed variable")
    with error_context(f"map '{var.name}'"):
        type_id = btf.skip_mods_and_typedefs(var.type_id)
        structure = members(btf, type_id)
        if not structure.name:
            raise ObjectError("is of a struct without a name, want one of the kernel's")
        if row.offset + structure.size > section.size:
            raise BtfError(f"reaches to byte {row.offset + structure.size} of a section of {section.size} bytes")
        return MapSpec(
            name=var.name,
            kernel_name=kernel_name(var.name),
            type=int(MapType.STRUCT_OPS),
            key_size=_KEY_SIZE,
            value_size=structure.size,
            max_entries=1,
            flags=int(MapFlags.LINK) if section.name.endswith(LINK_SECTION) else 0,
            value_type_id=type_id,
            contents=bytes(section.data()[row.offset : row.offset + structure.size]),
            rule="struct_ops",
            autocreate=not section.name.startswith("?"),
        )


def _slots(
    image: ElfImage,
    section: Section,
    btf: Btf,
    placed: Sequence[tuple[SecVar, MapSpec]],
    entries: Mapping[tuple[int, int], str],
) -> Mapping[str, Mapping[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for number, reloc in enumerate(image.relocs(section)):
        with error_context(f"relo #{number}"):
            row, spec = _holder(placed, reloc.offset)
            with error_context(f"map '{spec.name}'"):
                member = _function_member(btf, spec, reloc.offset - row.offset)
                symbol = image.symbols[reloc.symbol]
                program = entries.get((symbol.section, symbol.value))
                if program is None:
                    raise RelocationError(f"'{symbol.name}' is no program")
                found.setdefault(spec.name, {})[member] = program
    return found


def _holder(placed: Sequence[tuple[SecVar, MapSpec]], offset: int) -> tuple[SecVar, MapSpec]:
    for row, spec in placed:
        if row.offset <= offset < row.offset + spec.value_size:
            return row, spec
    raise RelocationError(f"offset {offset:#x} lies in no map")


def _function_member(btf: Btf, spec: MapSpec, offset: int) -> int:
    structure = members(btf, spec.value_type_id)
    for number, member in enumerate(structure.members):
        if member.bit_offset == offset * 8:
            pointer = btf.type_by_id(btf.skip_mods_and_typedefs(member.type_id))
            if isinstance(pointer, Ref) and pointer.kind is BtfKind.PTR:
                target = btf.type_by_id(btf.skip_mods_and_typedefs(pointer.type_id))
                if isinstance(target, FuncProto):
                    return number
            raise RelocationError(f"member '{member.name}' is no pointer to a function")
    raise RelocationError(f"no member starts at byte {offset}")


def check_program_types(obj: ObjectSpec) -> None:
    """Raise ObjectError for a program that a struct_ops map holds and that is of another type."""
    for spec in filter(is_struct_ops, obj.maps.values()):
        for name in spec.slots.values():
            if name not in obj.programs or obj.programs[name].type is not ProgType.STRUCT_OPS:
                raise ObjectError(f"map '{spec.name}' holds '{name}', which is no program of section 'struct_ops'")

"""Open: object bytes to ObjectSpec, and which dialect they are in (libbpf.c, bpf_object_open).

The standard dialect comes first; an object whose form shows the legacy one is read as that. Nothing a kernel says has
a part in the choice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from xdploaderd.errors import LoaderError, WrongDialectError, error_context
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.obj.arena import arena_places, with_arena_data
from xdploaderd.obj.btf_maps import MAPS_SECTION, read_btf_maps
from xdploaderd.obj.data_maps import kconfig_map, read_data_maps
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.externs import read_externs
from xdploaderd.obj.file_digest import FileDigest
from xdploaderd.obj.functions import Function, find_functions, has_function_symbols, local_callees
from xdploaderd.obj.legacy import has_legacy_maps, read_legacy_maps, reading_rules
from xdploaderd.obj.metadata import ObjectTypes, kernel_version, license_text, read_types
from xdploaderd.obj.pin_names import check_names
from xdploaderd.obj.places import PlacedMap, map_places, maps_by_name
from xdploaderd.obj.programs import entry_programs, read_functions, subprograms
from xdploaderd.obj.slots import initial_slots
from xdploaderd.obj.spec import KCONFIG_MAP, DataRef, Dialect, ExternSpec, FunctionSpec, MapSpec, ObjectSpec
from xdploaderd.obj.struct_ops import read_struct_ops
from xdploaderd.obj.tail_calls import tail_call_slots
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import BPF_OBJ_NAME_LEN

NO_TRIGGER = "no section 'maps', and functions have symbols"
ASKED_FOR = "asked for"


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one file is being read."""

    image: ElfImage
    name: str
    dialect: Dialect
    types: ObjectTypes

    @property
    def legacy(self) -> bool:
        return self.dialect is Dialect.LEGACY


def open_object(
    raw: bytes, *, name: str, dialect: Dialect | None = None, limits: Limits = DEFAULT_LIMITS
) -> ObjectSpec:
    """Return what the object file `name` says; with `dialect`, only that reader is tried.

    ObjectError and its kin say what is wrong and where. When the legacy reader refuses too, the error tells both
    reasons. No bpf(2) call is made, and no file is read.
    """
    base = PurePosixPath(name).name
    image = ElfImage.parse(raw, name=base, limits=limits)
    with error_context(f"object {quoted(base)}"):
        trigger = legacy_trigger(image)
        if dialect is Dialect.STANDARD and trigger:
            raise WrongDialectError(f"{trigger}: the object is of the legacy dialect")
        if dialect is Dialect.STANDARD or (dialect is None and not trigger):
            return _read(image, base, Dialect.STANDARD, ASKED_FOR if dialect else NO_TRIGGER)
        try:
            return _read(image, base, Dialect.LEGACY, trigger or ASKED_FOR)
        except LoaderError as error:
            if trigger:
                error.message += f" (read as legacy; not as standard, since {trigger})"
                error.fields["standard_refused"] = trigger
            raise


def legacy_trigger(image: ElfImage) -> str:
    """Return what shows that the object is of the legacy dialect; empty for a standard one.

    Tail-call sections ID/KEY need no rule of their own: the program array of that id lies in section `maps`.
    """
    if has_legacy_maps(image):
        return "section 'maps' holds map definitions"
    if image.program_sections() and not has_function_symbols(image):
        return "no symbol says where a function starts"
    if local_callees(image):
        return "a program section calls a static function of its own"
    return ""


def _read(image: ElfImage, base: str, dialect: Dialect, why: str) -> ObjectSpec:
    types = read_types(image, base, optional=dialect is Dialect.LEGACY and not image.section(MAPS_SECTION))
    name = base.partition(".")[0][: BPF_OBJ_NAME_LEN - 1]
    reading = _Reading(image, name, dialect, types)
    externs = read_externs(image, types.btf, types.sections)
    functions = find_functions(image, legacy=reading.legacy)
    placed = with_arena_data(image, _read_maps(reading))
    slots, unwanted = _slots(reading, placed, functions)
    places = map_places((*placed, *arena_places(image, placed)))
    read = tuple(read_functions(image, functions, places, externs))
    placed = _wanted(placed, (spec for _, spec in read)) if reading.legacy else placed
    specs = [_filled(item.spec, slots) for item in placed]
    check_names(specs, [function.name for function in functions if function.symbol is not None])
    return ObjectSpec(
        name=name,
        digest=FileDigest(image.raw),
        dialect=dialect,
        why="; ".join(filter(None, (why, reading_rules(specs)))),
        byteorder=image.byteorder,
        license=license_text(image, strict=reading.legacy),
        kern_version=0 if reading.legacy else kernel_version(image),
        maps=maps_by_name([*specs, *_other_maps(reading, externs, functions)], image.limits),
        programs=entry_programs(read, unwanted),
        subprograms=subprograms(read),
        externs=externs,
        btf=types.btf,
        btf_ext=types.btf_ext,
        datasecs=types.layouts(),
        warnings=(*types.warnings, *_notes(unwanted)),
        limits=image.limits,
    )


def _other_maps(
    reading: _Reading, externs: Mapping[str, ExternSpec], functions: Sequence[Function]
) -> Iterator[MapSpec]:
    """Yield the maps that code does not refer to by a symbol of their own: .kconfig and struct_ops."""
    types = reading.types
    yield from kconfig_map(externs, reading.name, types.sections.get(KCONFIG_MAP))
    if not reading.legacy:
        yield from read_struct_ops(reading.image, types, functions)


def _read_maps(reading: _Reading) -> tuple[PlacedMap, ...]:
    """Return the maps in creation order: by definition, then data sections."""
    image, types = reading.image, reading.types
    section = image.section(MAPS_SECTION)
    defined: tuple[PlacedMap, ...] = ()
    if section is not None and types.btf is not None:
        with error_context(f"section '{MAPS_SECTION}'"):
            described = types.sections.get(MAPS_SECTION)
            defined = read_btf_maps(section, types.btf, described, strict=not reading.legacy)
    legacy = read_legacy_maps(image, types.btf) if reading.legacy else ()
    return (*legacy, *defined, *read_data_maps(image, reading.name, types.btf, types.sections))


def _slots(
    reading: _Reading, placed: Sequence[PlacedMap], functions: Sequence[Function]
) -> tuple[Mapping[str, Mapping[int, str]], AbstractSet[str]]:
    """Return what maps hold from the start, and the programs that are not to be loaded of themselves."""
    image = reading.image
    section = image.section(MAPS_SECTION)
    slots = dict(initial_slots(image, section, reading.types, placed, functions)) if section else {}
    if not reading.legacy:
        return slots, frozenset()
    tail_calls, unwanted = tail_call_slots(placed, functions)
    return {**slots, **tail_calls}, frozenset(unwanted)


def _wanted(placed: Sequence[PlacedMap], functions: Iterable[FunctionSpec]) -> tuple[PlacedMap, ...]:
    """Return the maps that are made of a legacy object: neither old loader made data maps of which no program knew."""
    used = {ref.map_name for function in functions for ref in function.relocs if isinstance(ref, DataRef)}
    return tuple(item for item in placed if item.offset is not None or item.spec.name in used)


def _filled(spec: MapSpec, slots: Mapping[str, Mapping[int, str]]) -> MapSpec:
    return replace(spec, slots=slots[spec.name]) if spec.name in slots else spec


def _notes(unwanted: AbstractSet[str]) -> tuple[str, ...]:
    return tuple(f"program '{name}' is passed over: no program array has its id" for name in sorted(unwanted))

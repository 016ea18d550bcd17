"""Entry programs and subprograms: functions with their section's meaning and their relocations."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress

from xdploaderd.errors import ObjectError
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.functions import Function, split_text
from xdploaderd.obj.places import MapPlaces
from xdploaderd.obj.relocs import Referents, collect_relocs
from xdploaderd.obj.section_relocs import section_relocs
from xdploaderd.obj.sections import SecMatch, find_sec_def
from xdploaderd.obj.spec import CallRef, ExternSpec, FuncRef, FunctionSpec, ProgramSpec

_CALLS = (CallRef, FuncRef)


def read_functions(
    image: ElfImage, functions: Sequence[Function], places: MapPlaces, externs: Mapping[str, ExternSpec]
) -> Iterator[tuple[Function, FunctionSpec]]:
    """Yield every function with what its instructions refer to."""
    sections = {function.section.number: function.section for function in functions}
    by_section = {index: section_relocs(image, section, places) for index, section in sections.items()}
    if any(function.symbol is None for function in functions):
        anywhere = Referents(places, externs, None)
        found = [collect_relocs(image, f, by_section[f.section.number], anywhere) for f in functions]
        functions = split_text(functions, {ref.callee for refs in found for ref in refs if isinstance(ref, _CALLS)})
    called = [function.is_subprogram() for function in functions]
    starts = frozenset(function.start for function in compress(functions, called))
    referents = Referents(places, externs, starts)
    room = image.limits.relocations
    for function, is_called in zip(functions, called, strict=True):
        relocs = collect_relocs(image, function, by_section[function.section.number], referents)
        room -= len(relocs)
        if room < 0:
            raise over_limit(
                image.limits, "relocations", "functions have too many calls and references together", "taken"
            )
        symbol = function.symbol
        static = is_called and symbol is not None and (symbol.is_local() or symbol.is_hidden())
        section = function.section.name
        yield function, FunctionSpec(function.name, section, function.insn_off, function.insns, relocs, static)


def entry_programs(
    functions: Sequence[tuple[Function, FunctionSpec]], unwanted: AbstractSet[str]
) -> Mapping[str, ProgramSpec]:
    """Return the programs in load order by name; those in `unwanted`, or in a section `?NAME`, have autoload off."""
    found: dict[str, ProgramSpec] = {}
    matches = {name: find_sec_def(name.removeprefix("?")) for name in {spec.section for _, spec in functions}}
    for function, spec in functions:
        if function.is_subprogram():
            continue
        if spec.name in found:
            raise ObjectError(f"two programs are named '{spec.name}'")
        found[spec.name] = _program(function, spec, matches[spec.section], autoload=spec.name not in unwanted)
    return found


def subprograms(functions: Sequence[tuple[Function, FunctionSpec]]) -> Mapping[int, FunctionSpec]:
    """Return the functions that others call, by their `callee_key`; of two at one place the first is kept."""
    found: dict[int, FunctionSpec] = {}
    for function, spec in functions:
        if function.is_subprogram():
            found.setdefault(function.start, spec)
    return found


def _program(function: Function, spec: FunctionSpec, match: SecMatch | None, *, autoload: bool) -> ProgramSpec:
    sec_def = match.sec_def if match else None
    return ProgramSpec(
        name=spec.name,
        function=spec,
        has_symbol=function.symbol is not None,
        type=sec_def.prog_type if sec_def else None,
        attach_type=sec_def.attach_type if sec_def else None,
        prog_flags=sec_def.prog_flags if sec_def else 0,
        autoload=autoload and not spec.section.startswith("?"),
        type_source=match.source if match else "",
        attach_target=match.target if match else "",
    )

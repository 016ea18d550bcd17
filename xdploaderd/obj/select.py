"""Which programs of an object are loaded, and as which type: by hook, --type, section table, section prefix.

Programs that fill slots of a program array are loaded with the ones chosen, since the array is filled at load.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from xdploaderd.errors import NoSuchProgramError, ObjectError
from xdploaderd.hooks import Hook
from xdploaderd.obj.spec import Dialect, ObjectSpec, ProgramSpec
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import AttachType, MapType, ProgType

FROM_HOOK = "hook"
FROM_OPTION = "--type"
FROM_ARRAY = "program array"
ALL_PROGRAMS = ""  # key of `types` for the programs that have no entry of their own

_HOOK_TYPES = {
    Hook.XDP: ProgType.XDP,
    Hook.TC_INGRESS: ProgType.SCHED_CLS,
    Hook.TC_EGRESS: ProgType.SCHED_CLS,
}
_LISTED_MAX = 16


def select_programs(
    obj: ObjectSpec,
    *,
    hook: Hook | None = None,
    types: Mapping[str, ProgType] | None = None,
    names: Sequence[str] = (),
) -> ObjectSpec:
    """Return the object with autoload and types settled.

    `names` are functions, or sections that hold one program; without any, all programs with autoload on are taken, and
    for a `hook` the one that fits. `types` goes by program name, ALL_PROGRAMS for the rest. A program may be left
    without a type: require_type says so when it is to be loaded. Raises NoSuchProgramError, listing what there is.
    """
    types = {find_program(obj, name).name if name else name: kind for name, kind in (types or {}).items()}
    chosen = {find_program(obj, name).name for name in names}
    if hook is not None and not chosen:
        chosen = {program_for(obj, hook).name}
    tails = _slot_programs(obj)
    wanted = chosen | tails if chosen else {name for name, program in obj.programs.items() if program.autoload}
    hooked = (chosen | (tails if obj.dialect is Dialect.LEGACY else frozenset())) if hook else frozenset()
    programs = {
        name: replace(
            _typed(program, types, hook if name in hooked else None),
            autoload=name in wanted,
        )
        for name, program in obj.programs.items()
    }
    return replace(obj, programs=_array_types(programs, tails))


def find_program(obj: ObjectSpec, name: str) -> ProgramSpec:
    """Return the program of that name, or the only one of a section of that name."""
    if name in obj.programs:
        return obj.programs[name]
    in_section = [p for p in obj.programs.values() if p.section == name.removeprefix("?")]
    if len(in_section) == 1:
        return in_section[0]
    if in_section:
        raise NoSuchProgramError(
            f"section {quoted(name)} holds {len(in_section)} programs, want one of {_listed(in_section)}"
        )
    raise NoSuchProgramError(f"no program {quoted(name)}, {_what_there_is(obj)}")


def first_in_section(obj: ObjectSpec, section: str) -> ProgramSpec:
    """Return the first program of a section, as iproute2 chooses. Raises NoSuchProgramError, listing what there is."""
    for program in obj.programs.values():
        if program.section == section.removeprefix("?"):
            return program
    raise NoSuchProgramError(f"no program in section {quoted(section)}, {_what_there_is(obj)}")


def require_type(program: ProgramSpec) -> ProgType:
    """Return the type a program is loaded as; ObjectError asks for it."""
    if program.type is None:
        raise ObjectError(
            f"which type is it? section '{program.section}' does not say;"
            f" name a hook, or --type {program.name}=xdp or tc"
        )
    return program.type


def program_for(obj: ObjectSpec, hook: Hook) -> ProgramSpec:
    """Return the only program that can run at a hook: one whose section says so, else one whose section is silent."""
    tails = _slot_programs(obj)
    candidates = [p for name, p in obj.programs.items() if p.autoload and name not in tails]
    fitting = [p for p in candidates if p.type is _HOOK_TYPES[hook]] or [p for p in candidates if p.type is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NoSuchProgramError(f"several programs fit the hook {hook}, want one of {_listed(fitting)}")
    raise NoSuchProgramError(f"no program for the hook {hook}, {_what_there_is(obj)}")


def _slot_programs(obj: ObjectSpec) -> AbstractSet[str]:
    arrays = [spec for spec in obj.maps.values() if spec.type == MapType.PROG_ARRAY]
    return frozenset(name for spec in arrays for name in spec.slots.values() if name in obj.programs)


def _typed(program: ProgramSpec, types: Mapping[str, ProgType], hook: Hook | None) -> ProgramSpec:
    if hook is not None:
        return _as_type(program, _HOOK_TYPES[hook], FROM_HOOK)
    kind = types.get(program.name, types.get(ALL_PROGRAMS))
    return program if kind is None else _as_type(program, kind, FROM_OPTION)


def _as_type(program: ProgramSpec, kind: ProgType, source: str) -> ProgramSpec:
    """Return the program as of that type; what its section says beyond the type holds only for the type it names."""
    if program.type is kind:
        return replace(program, type_source=source)
    attach_type = AttachType.XDP if kind is ProgType.XDP else None
    return replace(program, type=kind, attach_type=attach_type, prog_flags=0, attach_target="", type_source=source)


def _array_types(programs: Mapping[str, ProgramSpec], tails: AbstractSet[str]) -> Mapping[str, ProgramSpec]:
    """Give programs of a program array whose section is silent the type of the programs that may call them."""
    kinds = {program.type for program in programs.values() if program.autoload and program.type is not None}
    if len(kinds) != 1:
        return programs
    (kind,) = kinds
    return {
        name: _as_type(program, kind, FROM_ARRAY) if kind and name in tails and program.type is None else program
        for name, program in programs.items()
    }


def _what_there_is(obj: ObjectSpec) -> str:
    return f"there is {_listed(list(obj.programs.values()))}" if obj.programs else "the object has none"


def _listed(programs: Sequence[ProgramSpec]) -> str:
    shown = [f"'{p.name}' (section '{p.section}')" for p in programs[:_LISTED_MAX]]
    more = len(programs) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

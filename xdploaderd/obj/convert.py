"""What a legacy object's source has to become for libbpf's dialect: map definitions, and what else must change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.obj.btf_maps import MAP_IN_MAP_TYPES
from xdploaderd.obj.c_maps import c_function, declarations, map_definition
from xdploaderd.obj.functions import TEXT_SECTION
from xdploaderd.obj.spec import MapSpec, ObjectSpec, ProgramSpec
from xdploaderd.uapi.bpf import MapType, ProgType

_SECTIONS = {ProgType.XDP: "xdp", ProgType.SCHED_CLS: "tc", ProgType.SCHED_ACT: "action"}
_HELD_BY_FD = MAP_IN_MAP_TYPES | {MapType.PROG_ARRAY}

Pins = Mapping[str, PurePosixPath | None]


@dataclass(frozen=True, slots=True)
class ConvertedMap:
    """A legacy map and the text that replaces its record; `pin` is the path it has now, empty for none."""

    name: str
    rule: str
    definition: str
    pin: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """`declarations` stand before the maps; `changes` say in words what else must change."""

    declarations: tuple[str, ...]
    maps: tuple[ConvertedMap, ...]
    changes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The C text: declarations, then each map."""
        return "\n\n".join(filter(None, ("\n".join(self.declarations), *(found.definition for found in self.maps))))


def convert_object(obj: ObjectSpec, pins: Pins) -> Conversion:
    """Return what replaces the legacy maps of an object, whose pins are now at `pins` by name of the map.

    ObjectError for a map whose name C does not take.
    """
    # what others hold stands in front, as C wants it
    legacy = sorted((m for m in obj.maps.values() if m.is_legacy), key=lambda spec: spec.type in MAP_IN_MAP_TYPES)
    sections = {name: _new_section(program) for name, program in obj.programs.items()}
    maps = tuple(
        ConvertedMap(
            spec.name,
            spec.rule,
            map_definition(spec, pinned=pins.get(spec.name) is not None),
            str(pins.get(spec.name) or ""),
        )
        for spec in legacy
    )
    changes = (*_source_changes(legacy), *_pin_changes(legacy, pins), *_program_changes(obj), *_slot_changes(legacy))
    return Conversion(tuple(declarations(legacy, sections)), maps, changes if legacy else ())


def _new_section(program: ProgramSpec) -> str:
    return _SECTIONS.get(program.type, "") if program.type is not None else ""


def _source_changes(legacy: list[MapSpec]) -> Iterator[str]:
    yield "include <bpf/bpf_helpers.h> in place of the header of the old records, and compile with -g: maps need BTF"
    yield "remove the old records, and BPF_ANNOTATE_KV_PAIR where it stands beside them"
    if any(spec.type not in _HELD_BY_FD for spec in legacy):
        yield (
            "where the C types are known, write __type(key, T) and __type(value, T) in place of key_size and"
            " value_size: the helpers take the map as before, and tools then show members"
        )


def _pin_changes(legacy: list[MapSpec], pins: Pins) -> Iterator[str]:
    directories: dict[PurePosixPath, list[str]] = {}
    for spec in legacy:
        path = pins.get(spec.name)
        was = f"persistent_path '{spec.pin_path}'" if spec.pin_path else f"pinning value {spec.pinning}"
        if path is not None:
            directories.setdefault(path.parent, []).append(spec.name)
            yield f"map '{spec.name}': {was} becomes LIBBPF_PIN_BY_NAME in directory '{path.parent}'"
            if path.name != spec.name:
                yield f"map '{spec.name}': by name it is pinned as '{spec.name}', no longer as '{path.name}'"
        elif spec.pinning:
            yield f"map '{spec.name}': {was} is not configured, so it is not pinned"
    for directory in directories:
        yield (
            f"tell the loader the directory '{directory}': by-name in pinning.conf(5), or pin_root_path of libbpf's"
            " struct bpf_object_open_opts (ip and tc take tc/globals by themselves)"
        )
    if len(directories) > 1:
        yield "libbpf has one directory for an object: maps of the others need bpf_map__set_pin_path()"


def _program_changes(obj: ObjectSpec) -> Iterator[str]:
    for name, program in obj.programs.items():
        wanted = _new_section(program)
        function = f"program '{name}'" if program.has_symbol else f"the function of section '{program.section}'"
        if not program.has_symbol and c_function(name) != name:
            yield f"{function}: the program array calls it '{c_function(name)}'"
        if not wanted:
            yield f'{function}: section "{program.section}" becomes SEC("xdp") or SEC("tc"), as its hook is'
        elif program.section != wanted:
            yield f'{function}: section "{program.section}" becomes SEC("{wanted}")'
    for function_spec in obj.subprograms.values():
        if function_spec.section != TEXT_SECTION:
            yield f"function '{function_spec.name}': drop its section, subprograms lie in .text"


def _slot_changes(legacy: list[MapSpec]) -> Iterator[str]:
    for spec in legacy:
        if spec.type in MAP_IN_MAP_TYPES and spec.rule != "goebpf":
            yield f"map '{spec.name}': inner_id and inner_idx become the inner declaration and the slots of `values`"
        elif spec.type in MAP_IN_MAP_TYPES:
            yield f"map '{spec.name}': inner_map_def becomes the inner declaration `values`"
        elif spec.type == MapType.PROG_ARRAY and spec.slots:
            yield (
                f"map '{spec.name}': tail-call sections of id {spec.legacy_id:#x} become slots of `values`; who loads"
                " the object keeps the array pinned or open, since the kernel empties one that nobody holds"
            )

"""Which map lies where in the ELF file, so that symbols can be turned into names of maps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from xdploaderd.errors import ObjectError
from xdploaderd.limits import Limits, over_limit
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import BPF_OBJ_NAME_LEN


class PlacedMap(NamedTuple):
    """A map and where it is defined: at `offset` of a section, or, with None, by the section as a whole (data)."""

    spec: MapSpec
    section: int
    offset: int | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class MapPlaces:
    """Maps by place; `definitions` tells the sections that hold map definitions."""

    at: Mapping[tuple[int, int], str]
    data: Mapping[int, str]
    definitions: frozenset[int]


def map_places(placed: Iterable[PlacedMap]) -> MapPlaces:
    """Index maps by where their symbols point."""
    defined = [item for item in placed if item.offset is not None]
    return MapPlaces(
        at={(item.section, item.offset): item.spec.name for item in defined if item.offset is not None},
        data={item.section: item.spec.name for item in placed if item.offset is None},
        definitions=frozenset(item.section for item in defined),
    )


def maps_by_name(specs: Iterable[MapSpec], limits: Limits) -> Mapping[str, MapSpec]:
    """Return the maps in order, by name; ObjectError for two of one name, LimitError for too many."""
    found: dict[str, MapSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise ObjectError(f"two maps are named '{spec.name}'")
        found[spec.name] = spec
    if len(found) > limits.maps:
        raise over_limit(limits, "maps", f"object with {len(found)} maps", "loaded")
    return found


def kernel_name(name: str) -> str:
    """Return the part of a name that the kernel keeps."""
    return name[: BPF_OBJ_NAME_LEN - 1]

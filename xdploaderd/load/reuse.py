"""May a pinned map stand in for the one an object defines? (libbpf map_is_reuse_compat, iproute2 likewise)

Not compared, as there: names, BTF, NUMA node, contents, the definition of inner maps.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from xdploaderd.errors import PinMismatchError
from xdploaderd.info import MapInfo
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapFlags, MapType, enum_name

# The kernel sets this flag itself on these maps.
_OWN_FLAG = MapFlags.RDONLY_PROG
_WITH_OWN_FLAG = (MapType.DEVMAP, MapType.DEVMAP_HASH)


def check_reusable(spec: MapSpec, info: MapInfo, path: PurePosixPath) -> None:
    """Raise PinMismatchError, one difference for each field, when the map pinned at `path` is not the object's."""
    if found := tuple(differences(spec, info)):
        raise PinMismatchError(
            f"the map pinned at '{path}' differs from the object's: {'; '.join(found)}",
            path=str(path),
            differences=found,
        )


def check_agreed(spec: MapSpec, info: MapInfo | None, path: PurePosixPath) -> None:
    """Raise PinMismatchError when the map that another load of the same change has for a pin is not the object's.

    One would take the pin from the other, whose program would run with a map that nobody else reaches.
    """
    if info is not None and (found := tuple(differences(spec, info))):
        raise PinMismatchError(
            f"another attachment of the same change has a map for the pin '{path}' that differs from this object's:"
            f" {'; '.join(found)}",
            path=str(path),
            differences=found,
        )


def differences(spec: MapSpec, info: MapInfo) -> Iterator[str]:
    """Yield each field in which a map is not what the object defines: wanted, found."""
    own = _OWN_FLAG if info.type in _WITH_OWN_FLAG else 0
    if spec.type != info.type:
        yield f"type: wanted {enum_name(MapType, spec.type)}, found {enum_name(MapType, info.type)}"
    if spec.key_size != info.key_size:
        yield f"key size: wanted {spec.key_size} bytes, found {info.key_size}"
    if spec.value_size != info.value_size:
        yield f"value size: wanted {spec.value_size} bytes, found {info.value_size}"
    if spec.max_entries != info.max_entries:
        yield f"max entries: wanted {spec.max_entries}, found {info.max_entries}"
    if spec.flags & ~own != info.flags & ~own:
        yield f"flags: wanted {spec.flags:#x}, found {info.flags:#x}"
    if spec.map_extra != info.map_extra:
        yield f"map_extra: wanted {spec.map_extra:#x}, found {info.map_extra:#x}"

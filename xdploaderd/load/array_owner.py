"""Why a program may not use a reused program array: it is for another type of program (bpf_prog_map_compatible).

iproute2 warns of the same in lib/bpf_legacy.c, bpf_check_ancillary.
"""

from collections.abc import Iterable

from xdploaderd.errors import PinMismatchError
from xdploaderd.kernel.fdinfo import owner_prog_type
from xdploaderd.load.maps import LoadedMap
from xdploaderd.uapi.bpf import MapType, ProgType, enum_name


def foreign_array(maps: Iterable[LoadedMap], prog_type: int) -> PinMismatchError | None:
    """Return what is wrong with the first reused program array that takes no programs of that type; None otherwise."""
    for array in maps:
        if not array.reused or array.spec.type != MapType.PROG_ARRAY:
            continue
        owner = owner_prog_type(array.fd)
        if owner not in (0, prog_type):
            return PinMismatchError(
                f"program array '{array.spec.name}' pinned at '{array.pin}' is for programs of type"
                f" {enum_name(ProgType, owner)}, this one is of type {enum_name(ProgType, prog_type)}",
                path=str(array.pin),
                differences=(f"owner: {enum_name(ProgType, owner)}",),
            )
    return None

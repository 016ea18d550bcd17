"""Fill maps whose values are descriptors: maps of maps before the programs, program arrays after them.

libbpf bpf_map_init_slots and init_prog_array_slots; iproute2 bpf_tail_call and bpf_maps_attach_all.
"""

import errno
import logging
import sys
from collections.abc import Mapping

from xdploaderd.errors import KernelError, ObjectError, error_context
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.array_owner import foreign_array
from xdploaderd.load.maps import LoadedMap, Ownership
from xdploaderd.obj.spec import Dialect, MapSpec
from xdploaderd.uapi.bpf import MapType, ProgId, enum_name

log = logging.getLogger(__name__)
_U32 = 4
_MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


def _u32(value: int) -> bytes:
    return value.to_bytes(_U32, sys.byteorder)


def fill_map_of_maps(bpf: Bpf, outer: LoadedMap, maps: Mapping[str, LoadedMap]) -> None:
    """Put inner maps into the slots of a new map of maps; a reused one keeps what it holds, other maps have none."""
    if outer.reused or outer.spec.type not in _MAPS_OF_MAPS:
        return
    for key, inner in outer.spec.slots.items():
        _check_key(outer, key)
        if inner not in maps:
            raise ObjectError(f"slot {key} wants map '{inner}', which was not created")
        with error_context(f"slot {key}"):
            _set_inner(bpf, outer, key, maps[inner])


def _set_inner(bpf: Bpf, outer: LoadedMap, key: int, inner: LoadedMap) -> None:
    try:
        bpf.map_update(outer.fd, _u32(key), _u32(inner.fd.fileno()))
    except KernelError as error:
        if error.errno != errno.EINVAL or outer.spec.inner is None:
            raise
        raise ObjectError(
            f"map '{inner.spec.name}' ({_shape(inner.spec)}) has another shape than the inner maps it is to be one of"
            f" ({_shape(outer.spec.inner)})"
        ) from None


def _shape(spec: MapSpec) -> str:
    sizes = f"key {spec.key_size}, value {spec.value_size} bytes, {spec.max_entries} entries, flags {spec.flags:#x}"
    return f"{enum_name(MapType, spec.type)}, {sizes}"


def fill_program_arrays(
    bpf: Bpf, maps: Mapping[str, LoadedMap], programs: Mapping[str, Fd], dialect: Dialect, own: Ownership
) -> None:
    """Put programs into the slots of program arrays; programs that were not loaded are passed over.

    Every key is checked before the first slot is set. Reused arrays are filled for legacy objects only, as iproute2
    does; `own.undo` puts their old programs back.
    """
    arrays = {
        name: array
        for name, array in maps.items()
        if array.spec.type == MapType.PROG_ARRAY and (dialect is Dialect.LEGACY or not array.reused)
    }
    for name, array in arrays.items():
        with error_context(f"map '{name}'"):
            for key in array.spec.slots:
                _check_key(array, key)
    for name, array in arrays.items():
        for key, prog in array.spec.slots.items():
            if prog in programs:
                with error_context(f"map '{name}'"), error_context(f"slot {key}"):
                    _set_program(bpf, array, _u32(key), programs[prog], own)


def _check_key(bpf_map: LoadedMap, key: int) -> None:
    if bpf_map.spec.type != MapType.HASH_OF_MAPS and key >= bpf_map.info.max_entries:
        raise ObjectError(f"slot {key} does not exist, the map has {bpf_map.info.max_entries} entries")


def _set_program(bpf: Bpf, array: LoadedMap, key: bytes, prog: Fd, own: Ownership) -> None:
    old_id = bpf.map_lookup(array.fd, key, _U32) if array.reused else None
    old = _open_program(bpf, old_id, own) if old_id is not None else None
    try:
        bpf.map_update(array.fd, key, _u32(prog.fileno()))
    except KernelError as error:
        raise foreign_array((array,), bpf.prog_info(prog).type) or error from None
    # A slot whose old program cannot be opened keeps the new one: better than a tail call that falls through.
    if array.reused and (old is not None or old_id is None):
        own.undo.callback(_put_back, bpf, array.fd, key, old)


def _open_program(bpf: Bpf, raw_id: bytes, own: Ownership) -> Fd | None:
    try:
        return own.fds.enter_context(bpf.prog_by_id(ProgId(int.from_bytes(raw_id, sys.byteorder))))
    except KernelError as error:  # needs CAP_SYS_ADMIN
        log.debug("cannot open the program that a slot holds: %s", error)
        return None


def _put_back(bpf: Bpf, array: Fd, key: bytes, prog: Fd | None) -> None:
    try:
        if prog is not None:
            bpf.map_update(array, key, _u32(prog.fileno()))
        else:
            bpf.map_delete(array, key)
    except KernelError as error:  # the failure that led here is the one to tell
        log.debug("cannot put back a program: %s", error)

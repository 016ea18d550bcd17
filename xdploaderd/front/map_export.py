"""Maps handed to another process over a unix socket, as `export` of `tc filter` and `tc exec bpf import` do it.

Mirrors struct bpf_map_aux of iproute2 include/bpf_scm.h, on 64-bit machines: version, count, name and inode of the
object, then one struct bpf_elf_map for each map; the descriptors come with it.
"""

import array
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from xdploaderd.errors import FileError, LimitError, ObjectError
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.maps import LoadedMap
from xdploaderd.obj.spec import MapSpec
from xdploaderd.printable import quoted

MAX_MAPS = 64
_VERSION = 1
_HEAD = struct.Struct("=HH64s4xQQ")  # uds_ver, num_ent, obj_name, obj_st
_ENTRY = struct.Struct("=9I")  # struct bpf_elf_map
_ID_AT = 5  # number of the field `id`
_NAME_MAX = 63  # bytes
_TEMPLATE_ONLY = 0xFFFFFFFF  # inner_idx of a map that is in no slot
_U32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ReceivedMap:
    """A map that came over the socket: its id, as the object has it, and a descriptor that the receiver owns."""

    id: int
    fd: Fd


def send_maps(path: str, maps: Mapping[str, LoadedMap], object_name: str) -> None:
    """Send the maps of an object, in its order, to whoever listens at `path`.

    Maps of `.maps` have no id: they get their position. Nothing is sent when there are no maps. Raises FileError when
    nobody takes them, LimitError for more than 64.
    """
    if len(maps) > MAX_MAPS:
        raise LimitError(f"the object has {len(maps)} maps, at most {MAX_MAPS} can be exported")
    if not maps:
        return
    fds = array.array("i", (found.fd.fileno() for found in maps.values()))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(path)
            message = _pack(maps, object_name)
            channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())])
    except OSError as error:
        raise FileError(f"cannot export the maps to {quoted(path)}: {_reason(error)}") from None


def receive_maps(path: str) -> tuple[ReceivedMap, ...]:
    """Wait at a new socket `path` for one message of maps; the socket is gone afterwards.

    Raises FileError when the path cannot be used, ObjectError for a message that is none of maps.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.bind(path)
            try:
                message, numbers, _, _ = socket.recv_fds(channel, _HEAD.size + MAX_MAPS * _ENTRY.size, MAX_MAPS)
            finally:
                with suppress(OSError):
                    os.unlink(path)
    except OSError as error:
        raise FileError(f"cannot import maps at {quoted(path)}: {_reason(error)}") from None
    with ExitStack() as stack:
        fds = [stack.enter_context(Fd(number)) for number in numbers]
        received = tuple(ReceivedMap(number, fd) for number, fd in zip(_parse(message, len(fds)), fds, strict=True))
        stack.pop_all()
        return received


def map_environment(received: tuple[ReceivedMap, ...]) -> Mapping[str, str]:
    """Return the variables that tell a command which descriptor is which map."""
    found = {"BPF_NUM_MAPS": str(len(received))} if received else {}
    return {**found, **{f"BPF_MAP{item.id}": str(item.fd.fileno()) for item in received}}


def _pack(maps: Mapping[str, LoadedMap], object_name: str) -> bytes:
    try:
        info = Path(object_name).stat()
        device, inode = info.st_dev, info.st_ino
    except OSError:  # replaced since it was read
        device = inode = 0
    specs = [found.spec for found in maps.values()]
    name = os.fsencode(object_name)[:_NAME_MAX]
    entries = [_ENTRY.pack(*_entry(spec, number, specs)) for number, spec in enumerate(specs)]
    return _HEAD.pack(_VERSION, len(specs), name, device, inode) + b"".join(entries)


def _entry(spec: MapSpec, number: int, specs: list[MapSpec]) -> tuple[int, ...]:
    size = (spec.key_size, spec.value_size, spec.max_entries, spec.flags)
    inner_id = spec.inner.legacy_id if spec.inner else 0
    return (spec.type, *size, spec.legacy_id if spec.is_legacy else number, spec.pinning, inner_id, _slot(spec, specs))


def _slot(spec: MapSpec, specs: list[MapSpec]) -> int:
    """Return the slot of its outer map that a map is in."""
    outer = [other for other in specs if other.inner and spec.is_legacy and other.inner.legacy_id == spec.legacy_id]
    slots = [slot & _U32 for other in outer for slot, name in other.slots.items() if name == spec.name]
    return slots[0] if slots else _TEMPLATE_ONLY if outer else 0


def _parse(message: bytes, fds: int) -> list[int]:
    """Return the maps' ids."""
    if len(message) < _HEAD.size:
        raise ObjectError(f"a message of {len(message)} bytes came, want maps")
    version, count, *_ = _HEAD.unpack_from(message)
    entries = message[_HEAD.size :]
    if version != _VERSION:
        raise ObjectError(f"maps came in version {version} of the message, want {_VERSION}")
    if count != fds or len(entries) != count * _ENTRY.size:
        raise ObjectError(f"{count} maps are announced, {fds} descriptors and {len(entries)} bytes on them came")
    return [fields[_ID_AT] for fields in _ENTRY.iter_unpack(entries)]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

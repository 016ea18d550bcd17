"""Unpinned maps that an entry carries over to the program of a changed object: found by their pins, or by id."""

import errno
from contextlib import ExitStack

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.errors import KernelError, OverrideError, PinError, error_context
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.prog_load import kernel_name
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.printable import quoted


def open_kept(
    config: AttachmentConfig, prepared: PreparedObject, bpf: Bpf, pins: OwnPins, stack: ExitStack
) -> dict[str, Fd]:
    """Return the maps of the program in force that the entry keeps; `stack` owns them. A map it has not is left out.

    Raises OverrideError for a map that the object has not, PinError for one that may not be opened.
    """
    for name in config.keep_maps:
        if name not in prepared.spec.maps:
            raise OverrideError(f"map {quoted(name)} is to be kept, and the object has none of that name")
    prog = pins.prog(config.name) if config.keep_maps else None
    opened = pins.open_program(config.name, prog.id) if prog is not None else None
    if prog is None or opened is None:
        return {}
    stack.enter_context(opened[0])
    pinned = {name: stack.enter_context(fd) for name, fd in opened[1].items()}
    kept: dict[str, Fd] = {}
    for name in config.keep_maps:
        with error_context(f"map {quoted(name)}"):
            fd = pinned.get(name.replace(".", "_")) or _by_id(bpf, prog, prepared.spec.maps[name], stack)
        if fd is not None:
            kept[name] = fd
    return kept


def _by_id(bpf: Bpf, prog: ProgInfo, spec: MapSpec, stack: ExitStack) -> Fd | None:
    """Return the program's map of that name in the kernel; None where it has none."""
    try:
        maps = [stack.enter_context(bpf.map_by_id(map_id)) for map_id in prog.map_ids]
    except KernelError as error:
        if error.errno != errno.EPERM:
            raise
        raise PinError(
            "cannot be kept: the running program was loaded before it was in keep_maps, and has no pin of it"
        ) from None
    found = [fd for fd in maps if bpf.map_info(fd).name == kernel_name(spec.kernel_name).decode()]
    if len(found) > 1:
        raise PinError(f"cannot be kept: the running program has {len(found)} maps that the kernel knows by that name")
    return found[0] if found else None

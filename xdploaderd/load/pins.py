"""Pins made by one load: where maps go, making them, and taking them away again when the load fails.

libbpf bpf_object__pin_maps; iproute2 lib/bpf_legacy.c makes directories likewise but never takes anything back.
"""

import errno
import logging
import os
import stat
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Protocol

from xdploaderd.errors import KernelError, LoaderError, PinError, error_context
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import make_pin_dir, remove_dirs, unpin
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.pin_names import check_pin_name
from xdploaderd.obj.spec import MapSpec, ObjectSpec, PreparedObject
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgType

log = logging.getLogger(__name__)


class PinPaths(Protocol):
    """Where maps are pinned (config.pinning.PinningConf)."""

    @property
    def root(self) -> PurePosixPath:
        """The directory that everything hangs under."""

    def map_path(
        self, map_name: str, pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        """Return the path of a map's pin, None when it is not pinned."""


def pin_path(pins: PinPaths, obj: ObjectSpec, spec: MapSpec) -> PurePosixPath | None:
    """Return where a map of an object is pinned, None when it is not. PinError for a path the object may not name."""
    if spec.pin_path:
        return _own_path(pins.root, spec.pin_path)
    if not spec.pinning:
        return None
    return pins.map_path(
        spec.name,
        spec.pinning,
        legacy=spec.is_legacy,
        object_sha1=obj.sha1 if spec.is_legacy else "",
        work_dir=work_dir(pins.root, obj),
    )


def _own_path(root: PurePosixPath, named: str) -> PurePosixPath:
    """Return the path that the object or its user names: nothing outside of the root, a name alone is one in it."""
    path = root / named
    if ".." in path.parts or root not in path.parents:
        raise PinError(f"its pin is to be at {quoted(named)}, want a path below '{root}'")
    for part in path.relative_to(root).parts:
        check_pin_name(part)
    return path


def check_pins(pins: PinPaths, prepared: PreparedObject) -> None:
    """Raise PinError when a map cannot be pinned where it is to be, before anything is made in the kernel."""
    for name, spec in prepared.maps.items():
        with error_context(f"map {quoted(name)}"):
            path = pin_path(pins, prepared.spec, spec)
            if path is not None:
                check_pin_name(path.name)


def work_dir(root: PurePosixPath, obj: ObjectSpec) -> str:
    """Return which of iproute2's directories an object uses: `xdp` only for XDP and where ROOT/xdp is a real one."""
    if not any(prog.type is ProgType.XDP for prog in obj.programs.values() if prog.autoload):
        return "tc"
    try:
        return "xdp" if stat.S_ISDIR(os.lstat(root / "xdp").st_mode) else "tc"
    except OSError:
        return "tc"


def pin(bpf: Bpf, fd: Fd, path: PurePosixPath, undo: ExitStack) -> bool:
    """Pin an object, making the directories; False when the path is taken. `undo` learns how to take it all back.

    Raises PinError when the path cannot be used, else KernelError.
    """
    undo.callback(remove_dirs, make_pin_dir(path.parent))
    try:
        bpf.obj_pin(fd, path)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            return False
        if error.errno == errno.EPERM and "." in path.name:
            raise PinError(f"cannot pin at '{path}': a BPF file system takes no name with a dot") from None
        raise
    undo.callback(_take_back, path)
    return True


def _take_back(path: PurePosixPath) -> None:
    try:
        unpin(path)
    except LoaderError as error:  # the failure that led here is the one to tell
        log.debug("cannot take back the pin %s: %s", path, error)


def open_pin(bpf: Bpf, path: PurePosixPath, kind: ObjectKind) -> Fd | None:
    """Open what is pinned at a path, None when nothing is there. Raises PinError when it is not of that kind."""
    try:
        fd = bpf.obj_get(path)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOTDIR) and (found := _what_is_at(path)):
            raise PinError(f"'{path}' is {found}, wanted a pinned {kind}") from None
        raise
    found_kind = bpf.kind_of(fd)
    if found_kind is not kind:
        fd.close()
        raise PinError(f"'{path}' is a pinned {found_kind}, wanted a pinned {kind}")
    return fd


def _what_is_at(path: PurePosixPath) -> str:
    """Return why something is no pin that can be opened, empty when it looks like one."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "a directory" if stat.S_ISDIR(mode) else ""

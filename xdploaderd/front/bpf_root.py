"""Where iproute2 has its BPF file system, mounted when there is none, and the directories it makes there.

Mirrors bpf_get_work_dir and bpf_gen_hierarchy of iproute2 lib/bpf_legacy.c: tc/globals, and `xdp` and `ip` as links
to tc/, so that all kinds of programs share one set of names. A directory in a link's place keeps its own.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from xdploaderd.config.pinning import DEFAULT_ROOT
from xdploaderd.errors import PinError
from xdploaderd.kernel.bpffs import PIN_DIR_MODE, is_bpffs, make_pin_dir, remove_dirs
from xdploaderd.kernel.syscall import mount_bpffs
from xdploaderd.uapi.bpf import ProgType

ROOT_VARIABLE = "TC_BPF_MNT"
GLOBALS = "globals"
_MASTER = "tc"
_LINKED = ("xdp", "ip")
_OTHER_ROOT = PurePosixPath("/bpf")
_MOUNTS = Path("/proc/mounts")
_OCTAL_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def work_dir_of(kind: ProgType) -> str:
    """Return the directory below the root that a kind of program pins its maps in; `xdp` and `ip` may be links."""
    match kind:
        case ProgType.SCHED_CLS | ProgType.SCHED_ACT:
            return _MASTER
        case ProgType.XDP:
            return "xdp"
        case _:
            return "ip"


def find_root(configured: PurePosixPath, environ: Mapping[str, str], *, mount: bool = True) -> PurePosixPath:
    """Return the root of pins, mounting a BPF file system where there is none.

    Raises PinError where that fails, or is not wanted.
    TC_BPF_MNT comes first, then the `configured` root when it is not the default one; else /sys/fs/bpf, /bpf and the
    first one mounted anywhere.
    """
    if fixed := environ.get(ROOT_VARIABLE) or (str(configured) if configured != DEFAULT_ROOT else ""):
        wanted = PurePosixPath(os.path.abspath(fixed))
        return wanted if is_bpffs(wanted) else _mount(wanted, mount)
    known = (root for root in (DEFAULT_ROOT, _OTHER_ROOT) if is_bpffs(root))
    return next(known, None) or _first_mounted() or _mount(DEFAULT_ROOT, mount)


def _first_mounted() -> PurePosixPath | None:
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    points = (fields[1] for line in lines if len(fields := line.split()) > 2 and fields[2] == "bpf")  # noqa: PLR2004 - device, point, kind
    return next((path for point in points if is_bpffs(path := PurePosixPath(_unescaped(point)))), None)


def _unescaped(point: str) -> str:
    for escape, char in _OCTAL_ESCAPES.items():
        point = point.replace(escape, char)
    return point


def _mount(path: PurePosixPath, wanted: bool) -> PurePosixPath:
    if not wanted:
        raise PinError("no BPF file system is mounted")
    try:
        if not os.path.isdir(path):
            os.mkdir(path, PIN_DIR_MODE)
        mount_bpffs(str(path), PIN_DIR_MODE)
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        raise PinError(f"no BPF file system, and none can be mounted on '{path}': {text}") from None
    return path


def make_hierarchy(root: PurePosixPath, undo: ExitStack) -> None:
    """Make iproute2's directories and links below the root; `undo` learns how to take back what was made.

    Raises PinError.
    """
    undo.callback(remove_dirs, make_pin_dir(root / _MASTER / GLOBALS))
    for name in _LINKED:
        path = root / name
        try:
            if _is_real_dir(path):
                undo.callback(remove_dirs, make_pin_dir(path / GLOBALS))
            elif not os.path.lexists(path):
                os.symlink(f"{root / _MASTER}/", path)
                undo.callback(_remove_link, path)
        except OSError as error:
            raise PinError(f"cannot make the link '{path}': {os.strerror(error.errno or 0).lower()}") from None


def _is_real_dir(path: PurePosixPath) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _remove_link(path: PurePosixPath) -> None:
    try:
        os.unlink(path)
    except OSError:  # somebody else took it away
        return

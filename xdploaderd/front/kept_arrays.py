"""Program arrays that nothing pins, kept while their program lives: ROOT/xdploaderctl/PROGRAM-ID/MAP.

The kernel empties a program array when its last descriptor and pin go, which with iproute2 is when the command ends;
tail calls then fall through. A program's directory goes with the program: whenever a command looks here.
"""

import errno
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath

from xdploaderd.errors import KernelError, PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, pins_under, remove_dirs, unpin
from xdploaderd.load.maps import LoadedMap
from xdploaderd.load.pins import pin
from xdploaderd.uapi.bpf import ProgId

KEPT = "xdploaderctl"


def keep_arrays(
    bpf: Bpf, root: PurePosixPath, prog_id: ProgId, arrays: Mapping[str, LoadedMap], undo: ExitStack
) -> None:
    """Pin the program arrays of a program. `undo` learns how to take that back. Raises PinError, KernelError."""
    for name, array in arrays.items():
        path = root / KEPT / str(prog_id) / name.replace(".", "_")
        if not pin(bpf, array.fd, path, undo):
            raise PinError(f"'{path}' exists already")


def drop_arrays(bpf: Bpf, root: PurePosixPath) -> None:
    """Remove the arrays of programs that are gone. Raises PinError."""
    directories = [e.name for e in list_dir(root / KEPT) if e.name.isdecimal() and e.is_dir(follow_symlinks=False)]
    for name in directories:
        if not _lives(bpf, ProgId(int(name))):
            for path in pins_under(root / KEPT / name):
                unpin(path)
            remove_dirs([root / KEPT, root / KEPT / name])


def _lives(bpf: Bpf, prog_id: ProgId) -> bool:
    try:
        bpf.prog_by_id(prog_id).close()
    except KernelError as error:
        return error.errno != errno.ENOENT
    return True

"""What /proc tells of a descriptor and bpf(2) does not (kernel/bpf/syscall.c)."""

from enum import StrEnum
from pathlib import Path

from xdploaderd.errors import KernelError
from xdploaderd.kernel.syscall import Fd

_SELF = Path("/proc/self")


class ObjectKind(StrEnum):
    """What a descriptor of bpf(2) stands for."""

    MAP = "map"
    PROG = "program"
    LINK = "link"
    BTF = "BTF"
    OTHER = "other file"


_INODES = {
    "bpf-map": ObjectKind.MAP,
    "bpf-prog": ObjectKind.PROG,
    "bpf_link": ObjectKind.LINK,
    "bpf-link": ObjectKind.LINK,  # of a link that was opened by its pin or id
    "btf": ObjectKind.BTF,
}


def kind_of(fd: Fd) -> ObjectKind:
    """Tell what a descriptor stands for, by the name of its anonymous inode. Raises KernelError without /proc."""
    try:
        name = str((_SELF / "fd" / str(fd.fileno())).readlink())
    except OSError as error:
        message = "cannot tell what a descriptor stands for: /proc is not readable"
        raise KernelError(message, operation="readlink", errno=error.errno or 0) from None
    return next((kind for mark, kind in _INODES.items() if mark in name), ObjectKind.OTHER)


def owner_prog_type(array: Fd) -> int:
    """Return the type of the programs that a program array is for; 0 while it is for any, or when /proc does not tell.

    The first program that uses the array, or is put into it, settles that for good.
    """
    try:
        lines = (_SELF / "fdinfo" / str(array.fileno())).read_text().splitlines()
    except OSError:
        return 0
    values = (line.partition(":") for line in lines)
    return next((int(value) for name, _, value in values if name == "owner_prog_type"), 0)

"""What /proc tells of a map's descriptor and bpf(2) does not (kernel/bpf/syscall.c, bpf_map_show_fdinfo)."""

from pathlib import Path

from xdploaderd.kernel.syscall import Fd

_FDINFO = Path("/proc/self/fdinfo")


def owner_prog_type(array: Fd) -> int:
    """Return the type of the programs that a program array is for; 0 while it is for any, or when /proc does not tell.

    The first program that uses the array, or is put into it, settles that for good.
    """
    try:
        lines = (_FDINFO / str(array.fileno())).read_text().splitlines()
    except OSError:
        return 0
    values = (line.partition(":") for line in lines)
    return next((int(value) for name, _, value in values if name == "owner_prog_type"), 0)

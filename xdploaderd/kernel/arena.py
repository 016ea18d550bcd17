"""An arena's memory: the address user space sees it at must be settled before a program uses it (libbpf.c).

A program's pointers into an arena are addresses of user space, so the kernel wants to see one mapping first. It stays
settled after that mapping is gone.
"""

import os

from xdploaderd.errors import KernelError, ObjectError
from xdploaderd.kernel.syscall import Fd, errno_text, write_mapped


def settle_arena(fd: Fd, pages: int, address: int, contents: bytes) -> None:
    """Map an arena of that many pages once, at `address` unless 0, and write `contents` to its start.

    Raises ObjectError where they do not fit, else KernelError, EEXIST where our own memory lies there.
    """
    size = pages * os.sysconf("SC_PAGE_SIZE")
    if len(contents) > size:
        raise ObjectError(f"variables of {len(contents)} bytes do not fit an arena of {size} bytes")
    try:
        write_mapped(fd, size, address, contents)
    except OSError as error:
        code = error.errno or 0
        place = f" at {address:#x}" if address else ""
        raise KernelError(
            f"cannot map the arena{place}: {errno_text(code).lower()}", operation="mmap", errno=code
        ) from None

"""BTF as the running kernel shows it in sysfs: its form is known, and its records are checked (kernel/bpf/sysfs_btf.c).

A file of any other form is of kernel/btf_file.py, which takes some modules more.
"""

import mmap
import os

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import error_context
from xdploaderd.kernel.regular_file import open_regular, unreadable
from xdploaderd.printable import quoted

SYSFS_FOLDER = "/sys/kernel/btf"


def is_shown(path: str) -> bool:
    """Tell whether a path is that of such a file."""
    return os.path.dirname(path) == SYSFS_FOLDER


def shown_types(path: str) -> Btf:
    """Return the types of such a file, which are found as far as they are used: the kernel has walked all of them.

    It is mapped, which nobody can cut short, and not copied: 5 MB. Raises FileError, and BtfError for a module's, which
    is nothing without its kernel's.
    """
    try:
        raw = _bytes_of(path)
    except OSError as error:
        raise unreadable(path, error) from None
    with error_context(quoted(path)):
        return Btf.parse(raw, name=os.path.basename(path), trusted=True)


def _bytes_of(path: str) -> bytes | memoryview:
    with open_regular(path) as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
        except OSError:  # before Linux 6.16 the file cannot be mapped
            return file.read()

"""The BTF of the running kernel, read once: mapped where the kernel lets us, since it takes 5 MB."""

import functools
import os

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import FileError
from xdploaderd.kernel.btf_search import SYSFS, find_btf
from xdploaderd.kernel.syscall import map_file


@functools.cache
def vmlinux_btf() -> Btf:
    """Return the running kernel's BTF, read once for the life of the process. Raises FeatureMissingError, BtfError."""
    if SYSFS.exists():
        return Btf.parse(_vmlinux_bytes(), name="vmlinux", trusted=True)
    return Btf.parse(find_btf(os.uname().release).raw, name="vmlinux", trusted=True)


def _vmlinux_bytes() -> bytes | memoryview:
    try:
        return map_file(str(SYSFS))
    except OSError:  # before Linux 6.16 the file cannot be mapped
        pass
    try:
        return SYSFS.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read '{SYSFS}': {os.strerror(error.errno or 0).lower()}") from None

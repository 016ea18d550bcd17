"""The doors to the kernel that Python lacks: bpf(2), statfs(2), mallopt(3); and the owned file descriptor.

Mirrors sys_bpf_fd and sys_bpf_prog_load of libbpf's bpf.c. Every command passes `bpf_syscall`, or what a test puts in
its place.
"""

import ctypes
import errno
import fcntl
import functools
import mmap
import os
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from xdploaderd.uapi.bpf import BpfCmd, MapType

_BPF_NR = {"x86_64": 321}  # the older architectures have numbers of their own, those of asm-generic share one
_BPF_NR_GENERIC = 280
_PROG_LOAD_ATTEMPTS = 5  # EAGAIN: a signal, or a verifier statistic that was just being changed
_FIRST_GOOD_FD = 3  # 0 means "none" in several fields of union bpf_attr; 1 and 2 are the output streams
_MAP_FIXED_NOREPLACE = 0x100000  # asm-generic/mman-common.h: never over a mapping of our own
_STATFS_WORDS = 32  # struct statfs is 120 bytes on 64-bit machines; f_type is its first word
_DEVICE_FIELDS = {BpfCmd.PROG_LOAD: "prog_ifindex", BpfCmd.MAP_CREATE: "map_ifindex"}
_CLONE_NEWNET = 0x40000000
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_LARGE_BLOCK = 128 << 10  # bytes; where glibc begins, too
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_nr = _BPF_NR.get(os.uname().machine, _BPF_NR_GENERIC)


class BpfSyscall(Protocol):
    """One bpf(2) command: returns its result (a descriptor or 0) and raises OSError."""

    def __call__(self, cmd: BpfCmd, attr: ctypes.Structure) -> int:
        """Run the command; `attr` may be written to."""


def bpf_syscall(cmd: BpfCmd, attr: ctypes.Structure) -> int:
    """Call bpf(2); EINTR is retried, EAGAIN of PROG_LOAD up to five times. Raises OSError."""
    attempts = _PROG_LOAD_ATTEMPTS if cmd is BpfCmd.PROG_LOAD else 1
    while True:
        result: int = _libc.syscall(_nr, int(cmd), ctypes.byref(attr), ctypes.sizeof(attr))
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code == errno.EAGAIN and attempts > 1:
            attempts -= 1
        elif code != errno.EINTR:
            raise OSError(code, errno_text(code))


def checked_before(check: Callable[[], None], door: BpfSyscall = bpf_syscall) -> BpfSyscall:
    """Return a door that calls `check` before each command: whatever a load has made is on record by then."""

    def call(cmd: BpfCmd, attr: ctypes.Structure) -> int:
        check()
        return door(cmd, attr)

    return call


def offloaded(ifindex: int, door: BpfSyscall = bpf_syscall) -> BpfSyscall:
    """Return a door that makes maps and programs for an interface's hardware; perf event arrays stay the kernel's."""

    def call(cmd: BpfCmd, attr: ctypes.Structure) -> int:
        if cmd is BpfCmd.PROG_LOAD or (cmd is BpfCmd.MAP_CREATE and attr.map_type != MapType.PERF_EVENT_ARRAY):
            setattr(attr, _DEVICE_FIELDS[cmd], ifindex)
        return door(cmd, attr)

    return call


@functools.cache
def errno_text(code: int) -> str:
    """Return strerror(3), which looks for a translation in the file system each time it is asked."""
    return os.strerror(code)


def filesystem_magic(path: str) -> int:
    """Return f_type of the file system that holds `path` (statfs(2)). Raises OSError."""
    words = (ctypes.c_uint64 * _STATFS_WORDS)()
    if _libc.statfs(os.fsencode(path), ctypes.byref(words)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return int(words[0])


def mount_bpffs(path: str, mode: int) -> None:
    """Mount a BPF file system whose root has that mode, out of sight of other mount namespaces. Raises OSError.

    Follows bpf_mnt_fs of iproute2 lib/bpf_legacy.c: a directory that is no mount point is first bound onto itself.
    """
    try:
        _mount("none", path, "", _MS_PRIVATE | _MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount(path, path, "none", _MS_BIND)
        _mount("none", path, "", _MS_PRIVATE | _MS_REC)
    _mount("bpf", path, "bpf", 0, f"mode={mode:04o}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(data)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def enter_net_namespace(path: str) -> None:
    """Move this thread into the network namespace that a file stands for; mounts stay as they are. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, _CLONE_NEWNET) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)


def give_back_memory() -> None:
    """Let malloc(3) of a process that runs for long give large blocks back to the kernel when they are freed.

    glibc takes the size of what was freed once for a size that is used again and again, and keeps holes of it, in an
    arena for each thread. The interpreter's table of interned strings is such a block: what comes and goes, as a part
    of a path, wears it out, and it is made anew, of 2 MB, in the arena of whichever thread that falls to.
    """
    mallopt = getattr(_libc, "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_M_ARENA_MAX, 1)


def map_file(path: str) -> memoryview:
    """Return a file's bytes by a private, read-only mapping that lasts as long as the process and keeps no descriptor.

    Raises OSError, ENODEV where the file system knows no mmap (sysfs BTF before Linux 6.16).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        address = _libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_PRIVATE, fd, ctypes.c_size_t(0))
    finally:
        os.close(fd)
    if address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B").toreadonly()


def write_mapped(fd: "Fd", size: int, address: int, contents: bytes) -> None:
    """Map `size` bytes of a file shared, at `address` unless 0, write `contents` to their start, and unmap them.

    Raises OSError, EEXIST where other memory lies at the address.
    """
    flags = mmap.MAP_SHARED | (_MAP_FIXED_NOREPLACE if address else 0)
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    where, length = ctypes.c_void_p(address), ctypes.c_size_t(size)
    found = _libc.mmap(where, length, protection, flags, fd.fileno(), ctypes.c_size_t(0))
    if found == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, errno_text(code))
    ctypes.memmove(found, contents, len(contents))
    _libc.munmap(ctypes.c_void_p(found), length)


class Fd:
    """One file descriptor that is closed exactly once; forgetting to is a ResourceWarning."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Take ownership of `fd`, moving it above the standard streams when it is one of theirs."""
        self._fd = fd
        if fd < _FIRST_GOOD_FD:
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_GOOD_FD)
            os.close(fd)

    def fileno(self) -> int:
        """Return the number; raises ValueError when closed or detached."""
        if self._fd < 0:
            raise ValueError("the descriptor is closed")
        return self._fd

    def detach(self) -> int:
        """Give up ownership and return the number: the caller closes it."""
        fd, self._fd = self.fileno(), -1
        return fd

    def close(self) -> None:
        """Close; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Fd({self._fd})"

    def __del__(self) -> None:
        if self._fd >= 0:
            warnings.warn(f"unclosed descriptor {self._fd}", ResourceWarning, stacklevel=2, source=self)
            self.close()

"""The locks that keep a second daemon, or a direct attach, from changing the same hooks and pins."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xdploaderd.errors import FileError, LockedError
from xdploaderd.kernel.bpffs import is_bpffs

PID_LIMIT = 32  # bytes of the file that are read


@contextmanager
def state_lock(path: Path) -> Iterator[None]:
    """Hold flock(2) on `path`, which tells the holder's pid; the kernel releases it when the holder ends.

    Raises LockedError, naming the pid, where another process holds it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FileError(f"lock file '{path}' cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, PID_LIMIT, 0).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(f"'{path}' is locked by process {pid}", fields={"pid": pid}) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


class RootLock:
    """flock(2) on the directory that all pins hang under: a second daemon would take ours for entries that are gone.

    It cannot be taken before the BPF file system is mounted and the directory made, so it is claimed again before pins
    are read or made. Once taken it is held until the process ends.
    """

    def __init__(self, root: PurePosixPath) -> None:
        self._root = root
        self._fd = -1

    def claim(self) -> None:
        """Hold the lock from now on, where there is anything to lock. Raises LockedError, FileError."""
        if self._fd >= 0 or not is_bpffs(self._root):
            return
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FileError(f"pinning root '{self._root}' cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LockedError(f"another daemon keeps its pins below '{self._root}'") from None
        self._fd = fd

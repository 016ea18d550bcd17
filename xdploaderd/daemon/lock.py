"""The lock that keeps a second daemon, or a direct attach, from changing the same hooks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdploaderd.errors import FileError, LockedError

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

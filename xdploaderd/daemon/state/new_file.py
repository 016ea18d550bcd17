"""Files that the daemon makes: never another one that somebody put, or linked, where the new one is to be."""

import os
from contextlib import suppress
from pathlib import Path


def write_new(path: Path, raw: bytes, *, mode: int, durable: bool) -> None:
    """Make the file, in place of whatever has its name. `durable`: its bytes survive a power cut. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        if durable:
            os.fsync(file.fileno())

"""Files that users name, opened so that a fifo or a device neither blocks nor acts."""

import os
import stat
from typing import BinaryIO

from xdploaderd.errors import FileError


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; the caller closes it. Raises FileError for what is none or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from None
    file = os.fdopen(fd, "rb", closefd=True) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    if file is None:
        os.close(fd)
        raise FileError(f"cannot read '{path}': it is not a regular file")
    return file


def unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> FileError:
    """Return the error for a file that the system does not let us read."""
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return FileError(f"cannot read '{path}': {reason.lower()}")

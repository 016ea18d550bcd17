"""The bytes of the files that users name, read with care: regular files only, whole, and up to a limit."""

import os
import stat
from collections.abc import Mapping

from xdploaderd.errors import FileError
from xdploaderd.limits import DEFAULT_LIMITS, Limits, over_limit
from xdploaderd.printable import quoted

_CHUNK = 1 << 20


def read_object(path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of an object file; raises FileError, and LimitError for one over `file_size`.

    Only a regular file is read: opening a fifo or a device must not block or act.
    """
    return read_named(path, f"object {quoted(os.fspath(path))}", limits)


def open_named(path: str | os.PathLike[str], what: str) -> int:
    """Open a file that messages call `what` to be read; the descriptor is the caller's. Raises FileError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(what, error, {"path": os.fspath(path)}) from error


def read_open_object(fd: int, limits: Limits = DEFAULT_LIMITS, what: str = "the object's descriptor") -> bytes:
    """Return the bytes behind a descriptor from its file's beginning, wherever it is read; raises as read_object."""
    try:
        return _read(fd, what, {}, limits)
    except OSError as error:
        raise _unreadable(what, error, {}) from error


def read_named(path: str | os.PathLike[str], what: str, limits: Limits) -> bytes:
    """Return the bytes of a file that messages call `what`; raises as read_object."""
    fields = {"path": os.fspath(path)}
    fd = open_named(path, what)
    try:
        return _read(fd, what, fields, limits)
    except OSError as error:
        raise _unreadable(what, error, fields) from error
    finally:
        os.close(fd)


def _unreadable(what: str, error: OSError, fields: Mapping[str, str]) -> FileError:
    return FileError(f"{what} cannot be read: {(error.strerror or str(error)).lower()}", fields=fields)


def _read(fd: int, what: str, fields: Mapping[str, str], limits: Limits) -> bytes:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{what} is not a regular file", fields=fields)
    chunk = min(_CHUNK, status.st_size + 1)  # a large buffer costs more than reading a small file
    part = os.pread(fd, min(chunk, limits.file_size + 1), 0)
    if len(part) == status.st_size < min(chunk, limits.file_size + 1):
        return part  # a read of more than that found the end where fstat had seen it
    raw = bytearray(part)
    while part := os.pread(fd, min(chunk, limits.file_size + 1 - len(raw)), len(raw)):
        raw += part
    if len(raw) > limits.file_size:
        raise over_limit(limits, "file_size", f"{what} has too many bytes", "read")
    return bytes(raw)

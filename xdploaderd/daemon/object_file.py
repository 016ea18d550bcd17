"""The files that an entry names, objects and entries of maps: their bytes, read with care, and their digest."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

from xdploaderd.errors import FileError, LoaderError
from xdploaderd.limits import DEFAULT_LIMITS, Limits, over_limit
from xdploaderd.obj.map_document import Document
from xdploaderd.printable import quoted

_CHUNK = 1 << 20


def read_object(path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of an object file; raises FileError, and LimitError for one over `file_size`.

    Only a regular file is read: opening a fifo or a device must not block or act.
    """
    return _read_path(path, f"object {quoted(str(path))}", limits)


def read_document(path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Return a file of map entries; raises FileError, and LimitError for one that is too large."""
    return Document(str(path), _read_path(path, f"file {quoted(str(path))}", limits))


def read_open_object(fd: int, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes behind a descriptor from its file's beginning, wherever it is read; raises as read_object."""
    try:
        return _read(fd, "the object's descriptor", {}, limits)
    except OSError as error:
        raise FileError(f"the object's descriptor cannot be read: {(error.strerror or str(error)).lower()}") from error


def _read_path(path: PurePosixPath, what: str, limits: Limits) -> bytes:
    fields = {"path": str(path)}
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return _read(fd, what, fields, limits)
        finally:
            os.close(fd)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"{what} cannot be read: {reason}", fields=fields) from error


def _read(fd: int, what: str, fields: Mapping[str, str], limits: Limits) -> bytes:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{what} is not a regular file", fields=fields)
    raw, chunk = bytearray(), min(_CHUNK, status.st_size + 1)  # a large buffer costs more than reading a small file
    while part := os.pread(fd, min(chunk, limits.file_size + 1 - len(raw)), len(raw)):
        raw += part
    if len(raw) > limits.file_size:
        raise over_limit(limits, "file_size", f"{what} has too many bytes", "read")
    return bytes(raw)


def digest(raw: bytes) -> str:
    """Return the SHA-1 by which an object is known (iproute2 names PIN_OBJECT_NS directories by it)."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def read_digest(path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> str | LoaderError:
    """Return the digest of an object file, or why there is none."""
    try:
        return digest(read_object(path, limits))
    except LoaderError as error:
        return error

"""The digest by which an object file is known (iproute2 names PIN_OBJECT_NS directories by it)."""

import hashlib
from pathlib import PurePosixPath

from xdploaderd.daemon.object_file import read_object
from xdploaderd.errors import LoaderError
from xdploaderd.limits import DEFAULT_LIMITS, Limits


def digest(raw: bytes) -> str:
    """Return the SHA-1 of an object file's bytes."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def read_digest(path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> str | LoaderError:
    """Return the digest of an object file, or why there is none."""
    try:
        return digest(read_object(path, limits))
    except LoaderError as error:
        return error

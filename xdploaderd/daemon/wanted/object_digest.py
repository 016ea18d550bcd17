"""The digest by which an object file is known (iproute2 names PIN_OBJECT_NS directories by it)."""

import hashlib


def digest(raw: bytes) -> str:
    """Return the SHA-1 of an object file's bytes."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()

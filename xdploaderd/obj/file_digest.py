"""The SHA-1 of an object file, by which iproute2 names directories of pins and the daemon knows what it loaded."""

from importlib import import_module

_HASHLIB = "hashlib"  # imported where a digest is asked for: OpenSSL, behind it, takes a third of a bare start


class FileDigest:
    """Computed when asked for: of a large file it takes as long as all else that opening does.

    The file's bytes are kept until then.
    """

    __slots__ = ("_raw", "_text")

    def __init__(self, raw: bytes) -> None:
        self._raw: bytes | None = raw
        self._text = ""

    @property
    def sha1(self) -> str:
        """The digest in hexadecimal."""
        if self._raw is not None:
            self._text = import_module(_HASHLIB).sha1(self._raw, usedforsecurity=False).hexdigest()
            self._raw = None
        return self._text

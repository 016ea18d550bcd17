"""Search in bytes that may be a mapped file, without a copy of the whole."""

from typing import Protocol, runtime_checkable

FIRST_CHUNK = 256  # most searches are for the end of a name
LAST_CHUNK = 1 << 18


@runtime_checkable
class Searchable(Protocol):
    """What bytes and an mmap object can do by themselves."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...

    def find(self, sub: bytes, start: int, end: int, /) -> int:
        """Return the first place of `sub` in [start, end), or -1."""

    def rfind(self, sub: bytes, start: int, end: int, /) -> int:
        """Return the last place of `sub` in [start, end), or -1."""


class ChunkedSearch:
    """The same over any buffer, such as memory mapped by ctypes: by copies of parts, growing as the search goes on."""

    __slots__ = ("_raw",)

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw

    def __len__(self) -> int:
        """Return the number of bytes."""
        return len(self._raw)

    def __getitem__(self, place: slice) -> bytes:
        """Return a copy of some bytes."""
        return bytes(self._raw[place])

    def find(self, sub: bytes, start: int, end: int) -> int:
        """Return the first place of `sub` in [start, end), or -1."""
        size = FIRST_CHUNK
        while start < end:
            at = bytes(self._raw[start : min(end, start + size + len(sub) - 1)]).find(sub)
            if at >= 0:
                return start + at
            start, size = start + size, min(size * 8, LAST_CHUNK)
        return -1

    def rfind(self, sub: bytes, start: int, end: int) -> int:
        """Return the last place of `sub` in [start, end), or -1."""
        size, below = FIRST_CHUNK, end
        while below > start:
            low = max(start, below - size)
            at = bytes(self._raw[low : min(end, below + len(sub) - 1)]).rfind(sub)
            if at >= 0:
                return low + at
            below, size = low, min(size * 8, LAST_CHUNK)
        return -1


def searchable(raw: memoryview) -> Searchable:
    """Return what to search for the bytes of `raw`: its owner where that can do so and has no other bytes."""
    owner: object = raw.obj
    return owner if isinstance(owner, Searchable) and len(owner) == raw.nbytes else ChunkedSearch(raw)

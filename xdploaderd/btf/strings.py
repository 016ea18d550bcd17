"""The string section of a BTF blob: by offset, by text, and by text without flavor (Documentation/bpf/btf.rst)."""

from collections.abc import Iterator
from typing import Self

from xdploaderd.btf.names import essential_name
from xdploaderd.btf.search import Searchable
from xdploaderd.errors import BtfError
from xdploaderd.printable import quoted

MAX_STRING = 65_536  # bytes; the longest are lines of source text
MAX_ALIKE = 65_536  # strings that start with a name; a kernel has 10,000 that start with `_`
_FLAVOR = b"___"


class BtfStrings:
    """Strings of one blob; those of a split blob continue its base's, so offsets of both are taken."""

    __slots__ = ("_base", "_end", "_hay", "_start", "end", "first")

    def __init__(self, hay: Searchable, start: int, length: int, base: Self | None) -> None:
        self._hay = hay
        self._start = start
        self._end = start + length
        self._base = base
        self.first: int = base.end if base else 0
        self.end: int = self.first + length

    def __getitem__(self, offset: int) -> str:
        """Return the string at `offset`; BtfError when there is none or it is not UTF-8."""
        if offset < self.first and self._base:
            return self._base[offset]
        if not self.first <= offset < self.end:
            raise BtfError(f"string offset {offset} is outside the strings, which have {self.end} bytes")
        start = self._start + offset - self.first
        end = self._hay.find(b"\0", start, start + MAX_STRING + 1)
        if end < 0 or end >= self._end:
            raise BtfError(f"string at offset {offset} does not end within {MAX_STRING} bytes")
        try:
            return self._hay[start:end].decode()
        except UnicodeDecodeError:
            raise BtfError(f"string at offset {offset} is not valid UTF-8") from None

    def offsets_of_essential(self, name: str) -> Iterator[int]:
        """Yield the offset of every whole string whose name without flavor is `name`, the base's first.

        BtfError when very many strings start with the name.
        """
        if self._base:
            yield from self._base.offsets_of_essential(name)
        try:
            text = name.encode()
        except UnicodeEncodeError:
            return
        plain = essential_name(name) == name
        for found, at in enumerate(self._starting_with(text)):
            if found == MAX_ALIKE:
                raise BtfError(f"over {MAX_ALIKE} strings start with {quoted(name)}")
            rest = self._hay[at + len(text) : at + len(text) + len(_FLAVOR)]
            if (plain and rest[:1] == b"\0") or (rest == _FLAVOR and self._essential_at(at) == name):
                yield at - self._start + self.first

    def _starting_with(self, text: bytes) -> Iterator[int]:
        """Yield every place at which a string of the blob's own begins that starts with `text`."""
        if self._hay[self._start : min(self._end, self._start + len(text))] == text:  # the first one of a split blob
            yield self._start
        needle, at = b"\0" + text, self._start - 1
        while (at := self._hay.find(needle, at + 1, self._end)) >= 0:
            yield at + 1

    def _essential_at(self, start: int) -> str:
        """Return the name without flavor of the string that begins at a place, empty for one that is too long."""
        end = self._hay.find(b"\0", start, min(self._end, start + MAX_STRING + 1))
        return essential_name(self._hay[start:end].decode(errors="replace")) if end >= 0 else ""

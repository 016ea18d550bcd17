"""The string section of a BTF blob: by offset, by text, and by text without flavor (Documentation/bpf/btf.rst)."""

from collections.abc import Iterator
from typing import Self

from xdploaderd.btf.names import essential_name
from xdploaderd.btf.search import Searchable
from xdploaderd.errors import BtfError

MAX_STRING = 65_536  # bytes; the longest are lines of source text
MAX_FLAVORS = 65_536  # a kernel has some hundred names with `___`


class BtfStrings:
    """Strings of one blob; those of a split blob continue its base's, so offsets of both are taken."""

    __slots__ = ("_base", "_end", "_flavors", "_hay", "_start", "end", "first")

    def __init__(self, hay: Searchable, start: int, length: int, base: Self | None) -> None:
        self._hay = hay
        self._start = start
        self._end = start + length
        self._base = base
        self._flavors: dict[str, list[int]] | None = None
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

    def offsets_of(self, text: str) -> Iterator[int]:
        """Yield every offset at which a whole string equal to `text` starts, the base's first."""
        if self._base:
            yield from self._base.offsets_of(text)
        try:
            needle = text.encode() + b"\0"
        except UnicodeEncodeError:
            return
        at = self._start
        while (at := self._hay.find(needle, at, self._end)) >= 0:
            if at == self._start or self._hay[at - 1 : at] == b"\0":
                yield at - self._start + self.first
            at += 1

    def offsets_of_essential(self, name: str) -> Iterator[int]:
        """Yield the offset of every whole string whose name without flavor is `name`, the base's first."""
        if essential_name(name) == name:
            yield from self.offsets_of(name)
        yield from self._flavors_of(name)

    def _flavors_of(self, name: str) -> Iterator[int]:
        if self._base:
            yield from self._base._flavors_of(name)
        if self._flavors is None:
            self._flavors = self._find_flavors()
        yield from self._flavors.get(name, ())

    def _find_flavors(self) -> dict[str, list[int]]:
        flavors: dict[str, list[int]] = {}
        at, found = self._start, 0
        while (at := self._hay.find(b"___", at, self._end)) >= 0:
            begin = self._hay.rfind(b"\0", self._start, at) + 1 or self._start
            at = self._hay.find(b"\0", at, self._end)
            if at - begin > MAX_STRING:
                continue
            found += 1
            if found > MAX_FLAVORS:
                raise BtfError(f"over {MAX_FLAVORS} strings have a flavor")
            text = self._hay[begin:at].decode(errors="replace")
            if (essential := essential_name(text)) != text:
                flavors.setdefault(essential, []).append(begin - self._start + self.first)
        return flavors

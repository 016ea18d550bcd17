"""The string section of a BTF blob: by offset, by text, and by text without flavor (Documentation/bpf/btf.rst)."""

from collections.abc import Iterator
from typing import Protocol, Self, runtime_checkable

from xdploaderd.btf.names import essential_name
from xdploaderd.errors import BtfError


@runtime_checkable
class Searchable(Protocol):
    """What bytes and a mapped file have in common: search without a copy."""

    def __len__(self) -> int: ...

    def find(self, sub: bytes, start: int, end: int, /) -> int:
        """Return the first place of `sub` in [start, end), or -1."""

    def rfind(self, sub: bytes, start: int, end: int, /) -> int:
        """Return the last place of `sub` in [start, end), or -1."""


class BtfStrings:
    """Strings of one blob; those of a split blob continue its base's, so offsets of both are taken."""

    __slots__ = ("_base", "_end", "_flavors", "_hay", "_start", "_view", "end", "first")

    def __init__(self, raw: memoryview, start: int, length: int, base: Self | None) -> None:
        self._view = raw
        self._hay = _searchable(raw)
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
        try:
            return str(self._view[start : self._hay.find(b"\0", start, self._end)], "utf-8")
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
            if at == self._start or self._view[at - 1] == 0:
                yield at - self._start + self.first
            at += 1

    def flavors_of(self, name: str) -> Iterator[int]:
        """Yield the offset of every string `name___FLAVOR` whose essential name is `name`."""
        if self._base:
            yield from self._base.flavors_of(name)
        if self._flavors is None:
            self._flavors = self._find_flavors()
        yield from self._flavors.get(name, ())

    def _find_flavors(self) -> dict[str, list[int]]:
        flavors: dict[str, list[int]] = {}
        at = self._start
        while (at := self._hay.find(b"___", at, self._end)) >= 0:
            begin = self._hay.rfind(b"\0", self._start, at) + 1 or self._start
            at = self._hay.find(b"\0", at, self._end)
            text = str(self._view[begin:at], "utf-8", "replace")
            if (essential := essential_name(text)) != text:
                flavors.setdefault(essential, []).append(begin - self._start + self.first)
        return flavors


def _searchable(raw: memoryview) -> Searchable:
    owner: object = raw.obj
    return owner if isinstance(owner, Searchable) and len(owner) == raw.nbytes else bytes(raw)

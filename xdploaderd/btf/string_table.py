"""A string section that grows: each text is stored once (Documentation/bpf/btf.rst)."""

MAX_SEARCHES = 64  # of the section's bytes; a table of all its strings takes less than the next so many


class StringTable:
    """The bytes of a string section and where a text lies in them; what is there already stays in front.

    Who asks for a few texts does not pay for a table of all. Offsets count from `first_offset`, the end of the strings
    of a base.
    """

    __slots__ = ("_first_offset", "_offsets", "_raw", "_searches")

    def __init__(self, strings: bytes = b"\0", *, first_offset: int = 0) -> None:
        self._raw = bytearray(strings)
        self._first_offset = first_offset
        self._offsets = {"": 0}
        self._searches = 0

    def __bytes__(self) -> bytes:
        """Return the whole section."""
        return bytes(self._raw)

    def offset_of(self, text: str) -> int:
        """Return the offset of `text`, which is added unless the section has it."""
        if text not in self._offsets:
            raw = text.encode("utf-8", "surrogateescape") + b"\0"
            found = self._find(text, raw)
            self._offsets[text] = self._append(raw) if found is None else found
        return self._offsets[text]

    def _append(self, raw: bytes) -> int:
        self._raw += raw
        return self._first_offset + len(self._raw) - len(raw)

    def _find(self, text: str, raw: bytes) -> int | None:
        """Return the offset of a whole string that was there from the start."""
        self._searches += 1
        if self._searches == MAX_SEARCHES:
            self._remember_all()
        if self._searches >= MAX_SEARCHES:
            return self._offsets.get(text)
        if self._raw.startswith(raw):
            return self._first_offset
        at = self._raw.find(b"\0" + raw) + 1
        return self._first_offset + at if at else None

    def _remember_all(self) -> None:
        at = self._first_offset
        for text in bytes(self._raw).split(b"\0")[:-1]:
            self._offsets.setdefault(text.decode("utf-8", "surrogateescape"), at)
            at += len(text) + 1

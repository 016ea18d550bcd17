"""String tables of ELF files: names by offset (gABI chapter 4)."""

from xdploaderd.errors import ObjectError
from xdploaderd.limits import Limits, over_limit
from xdploaderd.printable import printable


class Strings:
    """A string table; remembers how much was taken out of it, since names may overlap without end."""

    __slots__ = ("_data", "_limits", "_taken")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._taken = 0

    def at(self, offset: int) -> str:
        """Return the NUL-terminated string at `offset`; ObjectError when it is not there or too long."""
        if offset == 0:
            return ""
        end = self._data.find(b"\0", offset, offset + self._limits.name_length + 1)
        if end < 0:
            raise ObjectError(
                f"name at offset {offset} of a string table of {len(self._data)} bytes"
                f" does not end within {self._limits.name_length} bytes"
            )
        self._taken += end - offset
        if self._taken > self._limits.name_bytes:
            raise over_limit(self._limits, "name_bytes", "names of too many bytes together", "taken")
        return printable(self._data[offset:end].decode("utf-8", "backslashreplace"))

    def holds_all_to(self, last: int) -> bool:
        """Tell whether a string of permitted length starts at every offset up to `last`."""
        if last >= len(self._data):
            return False
        start, step = 0, self._limits.name_length + 1
        while start < len(self._data):  # from the last end within reach to the next: any two steps pass a whole one
            end = self._data.rfind(b"\0", start, start + step)
            if end < 0:
                return False
            start = end + 1
        return True

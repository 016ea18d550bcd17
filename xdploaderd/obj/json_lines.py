"""On which line of a JSON text an element of a list stands: for errors about what was read from it; pure."""

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def line_of(raw: bytes, key: str, number: int) -> int:
    """Return the line, from 1, where element `number` of the list begins that `raw` is, or has at `key`.

    `raw` was read as JSON before, and the list has that element.
    """
    text = raw.decode(json.detect_encoding(raw), "surrogatepass")
    starts = _elements(text, _list_at(text, key))
    start = next(at for count, at in enumerate(starts) if count == number)
    return text.count("\n", 0, start) + 1


def _list_at(text: str, key: str) -> int:
    """Return where the list begins: the text itself, or the member `key` of its object."""
    at = _skip(text, 0)
    if text[at] == "[":
        return at
    while True:
        name, at = _DECODER.raw_decode(text, _skip(text, at + 1))
        start = _skip(text, _skip(text, at) + 1)  # behind the colon
        if name == key:
            return start
        _, at = _DECODER.raw_decode(text, start)
        at = _skip(text, at)


def _elements(text: str, at: int) -> Iterator[int]:
    """Yield where each element of the list at `at` begins."""
    while text[at] != "]":
        start = _skip(text, at + 1)
        yield start
        _, at = _DECODER.raw_decode(text, start)
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at

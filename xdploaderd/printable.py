"""Foreign text made fit to print: names from objects, kernels and files may hold newlines, ESC and worse."""

QUOTE_LIMIT = 120  # characters of a quoted value; what is cut off is counted
_SURROGATE_ESCAPED = range(0xDC80, 0xDD00)  # bytes that were no UTF-8
_LATIN_1 = range(0x100)
_BASIC_PLANE = range(0x10000)


def printable(text: str) -> str:
    r"""Return `text` with every character that is not printable as an escape such as `\x1b`; stays on one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def quoted(text: str) -> str:
    """Return a user's word in single quotes, escaped, and shortened where it is long."""
    if len(text) > QUOTE_LIMIT:
        return f"'{printable(text[:QUOTE_LIMIT])}...' ({len(text)} characters)"
    return f"'{printable(text)}'"


def _escape(char: str) -> str:
    code = ord(char)
    match code:
        case _ if code in _SURROGATE_ESCAPED:
            return f"\\x{code - 0xDC00:02x}"
        case _ if code in _LATIN_1:
            return f"\\x{code:02x}"
        case _ if code in _BASIC_PLANE:
            return f"\\u{code:04x}"
        case _:
            return f"\\U{code:08x}"

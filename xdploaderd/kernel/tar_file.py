"""The first file of a kind in a tar archive, read without trust (POSIX ustar; GNU's sizes in base 256 are refused).

Python's own reader takes headers of any length into memory, and before 3.12.6 a time that grows with their square.
"""

import io
from typing import BinaryIO

from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.kernel.elf_btf import BTF_MAX, read_range

MAGIC, MAGIC_AT = b"ustar", 257
_BLOCK = 512
_MEMBERS_MAX = 64
_REGULAR = (b"0", b"\0")


def first_member(file: BinaryIO, suffix: bytes, name: str) -> BinaryIO | None:
    """Return the first regular file whose name ends so; None where none of the first 64 members does.

    Raises ObjectError for an archive that is malformed, LimitError for a file over 32 MiB.
    """
    at = 0
    for _ in range(_MEMBERS_MAX):
        header = read_range(file, at, _BLOCK)
        if len(header) < _BLOCK or not any(header):
            return None
        size = _size(header, name)
        if header[156:157] in _REGULAR and header[:100].partition(b"\0")[0].endswith(suffix):
            return io.BytesIO(_contents(file, at + _BLOCK, size, name))
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return None


def _size(header: bytes, name: str) -> int:
    digits = header[124:136].strip(b" \0")
    if header[MAGIC_AT:].startswith(MAGIC) and len(digits) <= 11 and all(digit in b"01234567" for digit in digits):  # noqa: PLR2004 - what the field holds
        return int(digits or b"0", 8)
    raise ObjectError(f"'{name}': the archive is broken: a header is malformed")


def _contents(file: BinaryIO, offset: int, size: int, name: str) -> bytes:
    if size > BTF_MAX:
        raise LimitError(f"'{name}': a file of {size} bytes is too large, at most {BTF_MAX} are taken")
    found = read_range(file, offset, size)
    if len(found) != size:
        raise ObjectError(f"'{name}': the archive is broken: it ends inside a file")
    return found

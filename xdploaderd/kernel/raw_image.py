"""BTF inside an uncompressed kernel image, as arm64 and riscv boot (Documentation/arch/arm64/booting.rst).

Such an image is memory as it will be, without sections: BTF is found by its header, which must fit what follows.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from xdploaderd.errors import LimitError, NoBtfError
from xdploaderd.kernel.elf_btf import BTF_MAX, read_range

_MAGICS = ((56, b"ARM\x64"), (56, b"RSC\x05"))
_HEADER = struct.Struct("<HBBIIIII")  # struct btf_header: magic, version, flags, hdr_len, type and string ranges
_START = _HEADER.pack(0xEB9F, 1, 0, _HEADER.size, 0, 0, 0, 0)[:12]  # up to type_off, which is 0
_CHUNK = 1 << 20
_IMAGE_MAX = 256 << 20  # bytes; Debian's arm64 image has 40 MB
_HITS_MAX = 256


def is_raw_image(start: bytes) -> bool:
    """Tell by a file's first bytes whether it is such an image."""
    return any(start[at:].startswith(magic) for at, magic in _MAGICS)


def read_image_btf(file: BinaryIO, name: str) -> bytes:
    """Return the kernel's BTF, the largest where there are several. Raises NoBtfError, LimitError."""
    found = b""
    for hits, offset in enumerate(_offsets(file, name)):
        if hits == _HITS_MAX:
            raise LimitError(f"'{name}' has over {_HITS_MAX} places that look like BTF")
        found = max(found, _btf_at(file, offset), key=len)
    if not found:
        raise NoBtfError(f"'{name}' is a kernel image without BTF")
    return found


def _offsets(file: BinaryIO, name: str) -> Iterator[int]:
    """Yield where BTF headers seem to be."""
    for base in range(0, _IMAGE_MAX, _CHUNK):
        chunk = read_range(file, base, _CHUNK + len(_START) - 1)
        at = chunk.find(_START)
        while at >= 0:
            yield base + at
            at = chunk.find(_START, at + 1)
        if len(chunk) < _CHUNK:
            return
    raise LimitError(f"'{name}' is a kernel image of over {_IMAGE_MAX} bytes")


def _btf_at(file: BinaryIO, offset: int) -> bytes:
    """Return the BTF whose header is at `offset`; nothing where sizes and strings do not fit."""
    header = read_range(file, offset, _HEADER.size)
    if len(header) != _HEADER.size:
        return b""
    *_, types_off, types_len, strings_off, strings_len = _HEADER.unpack(header)
    size = _HEADER.size + strings_off + strings_len
    if types_off or types_len != strings_off or not types_len or types_len % 4 or size > BTF_MAX:
        return b""
    raw = read_range(file, offset, size)
    strings = raw[_HEADER.size + strings_off :]
    return raw if len(raw) == size and strings_len > 1 and strings[0] == strings[-1] == 0 else b""

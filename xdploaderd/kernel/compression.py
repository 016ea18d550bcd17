"""Which compression a file shows, and where a kernel image has its packed kernel.

Mirrors what the kernel's scripts/extract-vmlinux finds: gzip, xz, lzma, bzip2, lz4 (its legacy frame) and zstd. The
payload of an x86 image is where its boot header says (Documentation/arch/x86/boot.rst), not searched for.
"""

import struct
from contextlib import AbstractContextManager
from importlib import import_module
from typing import BinaryIO

_UNPACK = "xdploaderd.kernel.unpack"  # imported where something is packed: raw BTF needs none of its libraries
_BOOT_MAGIC, _BOOT_MAGIC_AT = b"HdrS", 0x202
_BOOT_HEADER = 0x250  # bytes that hold all we need of the boot header
_SECTOR = 512
_PAYLOAD_SINCE = 0x0208  # boot protocol
_ZBOOT_MAGIC, _ZBOOT_MAGIC_AT = b"zimg", 4
_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
    (b"\x89LZO", "lzo"),
)


def compression_of(start: bytes) -> str:
    """Return the compression that the first bytes of a file show, empty for none."""
    return next((name for magic, name in _MAGICS if start.startswith(magic)), "")


def payload_range(start: bytes) -> tuple[int, int] | None:
    """Return offset and size of the packed kernel in a bzImage or an EFI zboot image; None for another file."""
    if len(start) >= _BOOT_HEADER and start[_BOOT_MAGIC_AT:].startswith(_BOOT_MAGIC):
        (version,) = struct.unpack_from("<H", start, 0x206)
        if version < _PAYLOAD_SINCE:
            return None
        offset, size = struct.unpack_from("<II", start, 0x248)
        return ((start[0x1F1] or 4) + 1) * _SECTOR + offset, size
    if start[_ZBOOT_MAGIC_AT:].startswith(_ZBOOT_MAGIC) and len(start) >= 16:  # noqa: PLR2004 - its four words
        offset, size = struct.unpack_from("<II", start, 8)
        return offset, size
    return None


def unpacked(file: BinaryIO, offset: int, name: str) -> AbstractContextManager[BinaryIO]:
    """Give what the compressed stream at `offset` holds, as unpack.unpacked does."""
    opened: AbstractContextManager[BinaryIO] = import_module(_UNPACK).unpacked(file, offset, name)
    return opened

"""The header of a BTF blob: where its types and strings lie (include/uapi/linux/btf.h, struct btf_header)."""

import struct
from typing import NamedTuple, Self

from xdploaderd.errors import BtfError

BTF_MAGIC = 0xEB9F
BTF_VERSION = 1
HEADER_SIZE = 24
LAYOUT_HEADER_SIZE = 32  # with layout_off and layout_len, which libbpf 1.8 writes
MAX_STRINGS = (1 << 31) - 1

_MAGIC = {b"\x9f\xeb": "little", b"\xeb\x9f": "big"}
_LAYOUT = {"little": struct.Struct("<HBBIIIII"), "big": struct.Struct(">HBBIIIII")}


class BtfHeader(NamedTuple):
    """struct btf_header; offsets in bytes from the start of the blob (in the blob they count from the header's end)."""

    byteorder: str
    type_off: int
    type_len: int
    str_off: int
    str_len: int

    @classmethod
    def decode(cls, raw: memoryview, *, split: bool) -> Self:
        """Return the header of `raw`; BtfError where an area is not inside the blob or out of order."""
        if len(raw) < HEADER_SIZE:
            raise BtfError(f"blob is {len(raw)} bytes, want at least the {HEADER_SIZE} of its header")
        byteorder = byteorder_of(raw)
        _, version, flags, hdr_len, type_off, type_len, str_off, str_len = _LAYOUT[byteorder].unpack_from(raw)
        if version != BTF_VERSION or flags:
            raise BtfError(f"version {version} with flags {flags:#x}, want version {BTF_VERSION} without flags")
        if not HEADER_SIZE <= hdr_len <= len(raw):
            raise BtfError(f"header length is {hdr_len} bytes, want {HEADER_SIZE} to {len(raw)}")
        if any(raw[LAYOUT_HEADER_SIZE:hdr_len]):
            raise BtfError(f"header of {hdr_len} bytes has unknown fields that are not zero")
        header = cls(
            byteorder=byteorder,
            type_off=hdr_len + type_off,
            type_len=type_len,
            str_off=hdr_len + str_off,
            str_len=str_len,
        )
        header._check_areas(len(raw))
        header._check_strings(raw, split=split)
        return header

    def _check_areas(self, size: int) -> None:
        if self.str_off + self.str_len > size:
            raise BtfError(f"strings end at byte {self.str_off + self.str_len}, the blob at {size}")
        if self.type_off + self.type_len > self.str_off:
            raise BtfError(
                f"types end at byte {self.type_off + self.type_len}, behind the strings' start {self.str_off}"
            )
        if self.type_off % 4 or self.type_len % 4:
            raise BtfError(f"types at byte {self.type_off}, {self.type_len} bytes long, are not aligned to 4 bytes")

    def _check_strings(self, raw: memoryview, *, split: bool) -> None:
        if self.str_len > MAX_STRINGS:
            raise BtfError(f"string section has {self.str_len} bytes, want at most {MAX_STRINGS}")
        if not self.str_len:
            if split:
                return
            raise BtfError("string section is empty, want at least a NUL byte")
        if raw[self.str_off + self.str_len - 1] or (raw[self.str_off] and not split):
            alone = not split and not raw[self.str_off + self.str_len - 1]
            hint = ": is it BTF of a module, which is nothing without its kernel's?" if alone else ""
            raise BtfError(f"string section does not start and end with a NUL byte{hint}")


def byteorder_of(raw: memoryview) -> str:
    """Tell the byte order of a .BTF or .BTF.ext blob by its magic number."""
    magic = bytes(raw[:2])
    if magic not in _MAGIC:
        raise BtfError(f"magic number is 0x{magic.hex()}, want 0x{BTF_MAGIC:04x} in either byte order")
    return _MAGIC[magic]

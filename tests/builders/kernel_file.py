"""Small files of every form in which a kernel's BTF comes."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable

import lz4.block
import zstandard

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Int


def btf_blob() -> bytes:
    """Return BTF of one type."""
    builder = BtfBuilder()
    builder.add(Int("int", 4, 1, 0, 32))
    return builder.encode()


def elf32(btf: bytes) -> bytes:
    """Return a 32-bit ELF file with that section .BTF."""
    names = b"\0.BTF\0"
    shoff = 52 + len(names) + len(btf)
    ehdr = b"\x7fELF\x01\x01\x01" + bytes(9)
    ehdr += struct.pack("<HHIIIIIHHHHHH", 3, 3, 1, 0, 0, shoff, 0, 52, 0, 0, 40, 3, 2)
    sections = bytes(40)
    sections += struct.pack("<IIIIIIIIII", 1, 1, 0, 0, 52 + len(names), len(btf), 0, 0, 1, 0)
    sections += struct.pack("<IIIIIIIIII", 0, 3, 0, 0, 52, len(names), 0, 0, 1, 0)
    return ehdr + names + btf + sections


def tar_xz(btf: bytes) -> bytes:
    """Return an archive as BTFHub has them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        member = tarfile.TarInfo("./6.1.0.btf")
        member.size = len(btf)
        archive.addfile(member, io.BytesIO(btf))
    return out.getvalue()


def elf64(btf: bytes, *, name: bytes = b".BTF", flags: int = 0) -> bytes:
    """Return an ELF file with one section."""
    names = b"\0" + name + b"\0.shstrtab\0"
    names_off, btf_off = 64, 64 + len(names)
    shoff = btf_off + len(btf)
    ehdr = b"\x7fELF\x02\x01\x01" + bytes(9)
    ehdr += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, shoff, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, flags, 0, btf_off, len(btf), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 1 + len(name) + 1, 3, 0, 0, names_off, len(names), 0, 0, 1, 0)
    return ehdr + names + btf + sections


def lz4_legacy(raw: bytes) -> bytes:
    """Return the frame that the kernel's build makes."""
    block: bytes = lz4.block.compress(raw, store_size=False)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


def bzimage(packed: bytes) -> bytes:
    """Return an x86 boot image: one setup sector, then the payload with its unpacked size behind it."""
    image = bytearray(1024)
    image[0x1F1] = 1
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x20F)
    struct.pack_into("<II", image, 0x248, 64, len(packed) + 4)
    return bytes(image) + bytes(64) + packed + struct.pack("<I", 99) + bytes(40)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": lambda raw: zstandard.ZstdCompressor().compress(raw),
    "lz4": lz4_legacy,
}


def raw_image(*parts: bytes, magic: bytes = b"ARM\x64") -> bytes:
    """Return an image as arm64 boots it."""
    return (b"MZ" + bytes(54) + magic + bytes(4036)) + b"".join(parts)

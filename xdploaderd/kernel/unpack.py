"""Compressed streams unpacked into a temporary file, so that memory stays small (scripts/extract-vmlinux)."""

import bz2
import lzma
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, Protocol

from xdploaderd.errors import FeatureMissingError, ObjectError
from xdploaderd.kernel.compression import compression_of
from xdploaderd.kernel.elf_btf import read_range

UNPACKED_MAX = 1 << 30  # bytes; a vmlinux without debugging data has 50 to 150 MB
_CHUNK = 1 << 20
_ZSTD_CHUNK = 1 << 10  # its decoder bounds no output: 128 KiB may come of each 4 bytes
_ZSTD_WINDOW_MAX = 128 << 20  # bytes; the kernel packs with 128 MiB at most
_LZ4_BLOCK = 8 << 20  # bytes in a full block of the legacy frame
_LZ4_PACKED_MAX = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16
_BROKEN = (EOFError, lzma.LZMAError, zlib.error, OSError, ValueError, struct.error, MemoryError)


class _Decoder(Protocol):
    """What zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return some bytes."""


@contextmanager
def unpacked(file: BinaryIO, offset: int, name: str) -> Iterator[BinaryIO]:
    """Give what the compressed stream at `offset` holds, as a temporary file at its start.

    Raises ObjectError for a stream that is malformed or gives over 1 GiB, FeatureMissingError for one whose library is
    not installed.
    """
    kind = compression_of(read_range(file, offset, 16))
    if not kind:
        raise ObjectError(f"'{name}': the packed kernel is of no known compression")
    file.seek(offset)
    with tempfile.TemporaryFile() as out:
        try:
            for chunk in _CHUNKS[kind](file):
                out.write(chunk)
                if out.tell() > UNPACKED_MAX:
                    raise ObjectError(f"'{name}' unpacks to over {UNPACKED_MAX} bytes")
        except _BROKEN as error:
            raise ObjectError(f"'{name}': its {kind} data is broken: {str(error).lower() or 'cut short'}") from None
        out.seek(0)
        yield out


def _by_decoder(make: Callable[[], _Decoder]) -> Callable[[BinaryIO], Iterator[bytes]]:
    def chunks(file: BinaryIO) -> Iterator[bytes]:
        decoder = make()
        while not decoder.eof:
            data = file.read(_CHUNK)
            yield decoder.decompress(data, _CHUNK)
            while not decoder.needs_input and not decoder.eof:
                yield decoder.decompress(b"", _CHUNK)
            if not data and not decoder.eof:
                raise EOFError("cut short")

    return chunks


def _gzip_chunks(file: BinaryIO) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    while not decoder.eof:
        data = decoder.unconsumed_tail or file.read(_CHUNK)
        if not data:
            raise EOFError("cut short")
        yield decoder.decompress(data, _CHUNK)


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    zstandard = _library("zstandard")
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
    try:
        while not decoder.eof:
            data = file.read(_ZSTD_CHUNK)
            if not data:
                raise EOFError("cut short")
            yield decoder.decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _lz4_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Read the legacy frame: blocks of 8 MiB, the last of them shorter; the kernel puts its size behind them."""
    lz4_block = _library("lz4.block")
    file.read(4)
    full = True
    while full and len(head := file.read(4)) == 4:  # noqa: PLR2004 - the size of a block
        (size,) = struct.unpack("<I", head)
        if size > _LZ4_PACKED_MAX:
            raise ValueError(f"a block of {size} bytes")
        try:
            block: bytes = lz4_block.decompress(file.read(size), uncompressed_size=_LZ4_BLOCK)
        except lz4_block.LZ4BlockError as error:
            raise ValueError(str(error)) from None
        full = len(block) == _LZ4_BLOCK
        yield block


def _lzo_chunks(_file: BinaryIO) -> Iterator[bytes]:
    raise FeatureMissingError(
        "kernel images packed with LZO are not read: give the kernel's vmlinux or its BTF", feature="LZO"
    )


def _library(module: str) -> Any:
    """Return an optional dependency, imported for the kernels that are packed so: most commands unpack none."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError:
        text = f"unpacking this kernel needs the Python package '{package}'"
        raise FeatureMissingError(text, feature=package) from None


_CHUNKS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": _gzip_chunks,
    "xz": _by_decoder(lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 28)),
    "lzma": _by_decoder(lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=1 << 28)),
    "bzip2": _by_decoder(bz2.BZ2Decompressor),
    "zstd": _zstd_chunks,
    "lz4": _lz4_chunks,
    "lzo": _lzo_chunks,
}

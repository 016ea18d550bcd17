import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
import zstandard

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Int
from xdploaderd.errors import FeatureMissingError, FileError, LoaderError, NoBtfError, ObjectError
from xdploaderd.kernel.btf_file import read_btf_file
from xdploaderd.kernel.known import target_from_file


def _blob() -> bytes:
    builder = BtfBuilder()
    builder.add(Int("int", 4, 1, 0, 32))
    return builder.encode()


def _elf32(btf: bytes) -> bytes:
    names = b"\0.BTF\0"
    shoff = 52 + len(names) + len(btf)
    ehdr = b"\x7fELF\x01\x01\x01" + bytes(9)
    ehdr += struct.pack("<HHIIIIIHHHHHH", 3, 3, 1, 0, 0, shoff, 0, 52, 0, 0, 40, 3, 2)
    sections = bytes(40)
    sections += struct.pack("<IIIIIIIIII", 1, 1, 0, 0, 52 + len(names), len(btf), 0, 0, 1, 0)
    sections += struct.pack("<IIIIIIIIII", 0, 3, 0, 0, 52, len(names), 0, 0, 1, 0)
    return ehdr + names + btf + sections


def _tar(btf: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        member = tarfile.TarInfo("./6.1.0.btf")
        member.size = len(btf)
        archive.addfile(member, io.BytesIO(btf))
    return out.getvalue()


def _elf(btf: bytes, *, name: bytes = b".BTF", flags: int = 0) -> bytes:
    names = b"\0" + name + b"\0.shstrtab\0"
    names_off, btf_off = 64, 64 + len(names)
    shoff = btf_off + len(btf)
    ehdr = b"\x7fELF\x02\x01\x01" + bytes(9)
    ehdr += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, shoff, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, flags, 0, btf_off, len(btf), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 1 + len(name) + 1, 3, 0, 0, names_off, len(names), 0, 0, 1, 0)
    return ehdr + names + btf + sections


def _lz4_legacy(raw: bytes) -> bytes:
    block: bytes = lz4.block.compress(raw, store_size=False)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


def _bzimage(packed: bytes) -> bytes:
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
    "lz4": _lz4_legacy,
}


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_btf_is_found_in_a_kernel_image_of_any_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vmlinuz-6.1"
    path.write_bytes(_bzimage(compress(_elf(_blob()))))
    assert read_btf_file(path) == _blob()


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_broken_kernel_image_gives_a_typed_error(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole, path = _bzimage(compress(_elf(_blob() + os.urandom(4000)))), tmp_path / "vmlinuz"
    for size in range(1000, len(whole) - 600, 211):
        path.write_bytes(whole[:size])
        with pytest.raises(ObjectError):
            read_btf_file(path)


def test_kernel_image_built_without_btf_is_told_from_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(_bzimage(gzip.compress(_elf(b"x", name=b".text"))))
    with pytest.raises(NoBtfError, match="without a section"):
        read_btf_file(path)
    path.write_bytes(_bzimage(gzip.compress(_elf(_blob()))[:-20] + bytes(20)))
    with pytest.raises(ObjectError, match=r"broken|cut short") as caught:
        read_btf_file(path)
    assert not isinstance(caught.value, NoBtfError)


def test_bomb_is_refused_in_bounded_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdploaderd.kernel.unpack.UNPACKED_MAX", 1 << 20)
    path = tmp_path / "vmlinux.xz"
    path.write_bytes(lzma.compress(bytes(8 << 20)))
    with pytest.raises(ObjectError, match="over 1048576 bytes"):
        read_btf_file(path)


@pytest.mark.parametrize("package", ["zstandard", "lz4"])
def test_missing_library_is_named(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"xdploaderd.kernel.unpack.{package}", None)
    path = tmp_path / "vmlinuz"
    path.write_bytes(_bzimage(COMPRESSIONS[{"zstandard": "zstd"}.get(package, package)](_elf(_blob()))))
    with pytest.raises(FeatureMissingError, match=f"'{package}'"):
        read_btf_file(path)


def test_archive_without_btf_is_told(tmp_path: Path) -> None:
    path, out = tmp_path / "a.btf.tar.xz", io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    path.write_bytes(out.getvalue())
    with pytest.raises(NoBtfError, match="without a file"):
        read_btf_file(path)


def test_file_that_is_nothing_known_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"#!/bin/sh\n" * 100)
    with pytest.raises(ObjectError, match="neither BTF nor"):
        read_btf_file(path)


@pytest.mark.parametrize("wrap", [bytes, _elf, _elf32, _tar])
def test_btf_of_a_raw_file_and_of_an_elf_file_are_the_same(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vmlinux-6.1"
    path.write_bytes(wrap(_blob()))
    assert read_btf_file(path) == _blob()
    target = target_from_file(path)
    assert target.custom_btf
    assert target.release == "6.1"
    assert [len(btf) for btf in target.btfs] == [2]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (_elf(b"x", name=b".text"), "without a section '.BTF'"),
        (_elf(_blob(), flags=0x800), "without a section '.BTF'"),
        (_elf(b"x")[:-10], "cut short"),
        (_elf(b"x")[:40], "cut short"),
        (b"\x7fELF\x01\x01" + bytes(80), "malformed"),
        (b"\x7fELF\x02\x01" + b"\xff" * 80, "malformed"),
        (b"\x7fELF\x07\x01" + bytes(80), "malformed"),
    ],
)
def test_elf_without_usable_btf_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(raw)
    with pytest.raises(ObjectError, match=said):
        read_btf_file(path)


def test_every_cut_of_an_elf_file_gives_a_typed_error_or_btf(tmp_path: Path) -> None:
    whole, path = _elf(_blob()), tmp_path / "vmlinux"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(LoaderError):
            target_from_file(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_btf_file(tmp_path / "none")

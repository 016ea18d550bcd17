import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.kernel_file import COMPRESSIONS, btf_blob, bzimage, elf32, elf64, raw_image, tar_xz
from xdploaderd.btf.build import encode_types
from xdploaderd.btf.types import BtfKind, Int
from xdploaderd.errors import (
    BtfError,
    FeatureMissingError,
    FileError,
    LimitError,
    LoaderError,
    NoBtfError,
    ObjectError,
)
from xdploaderd.kernel.btf_file import kernel_types, read_btf_file
from xdploaderd.kernel.known import target_from_file


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_btf_is_found_in_a_kernel_image_of_any_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vmlinuz-6.1"
    path.write_bytes(bzimage(compress(elf64(btf_blob()))))
    assert read_btf_file(path) == btf_blob()


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_broken_kernel_image_gives_a_typed_error(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole, path = bzimage(compress(elf64(btf_blob() + os.urandom(4000)))), tmp_path / "vmlinuz"
    for size in range(1000, len(whole) - 600, 211):
        path.write_bytes(whole[:size])
        with pytest.raises(ObjectError):
            read_btf_file(path)


def test_kernel_image_built_without_btf_is_told_from_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(gzip.compress(elf64(b"x", name=b".text"))))
    with pytest.raises(NoBtfError, match="without a section"):
        read_btf_file(path)
    path.write_bytes(bzimage(gzip.compress(elf64(btf_blob()))[:-20] + bytes(20)))
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
    monkeypatch.setitem(sys.modules, {"lz4": "lz4.block"}.get(package, package), None)
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(COMPRESSIONS[{"zstandard": "zstd"}.get(package, package)](elf64(btf_blob()))))
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


@pytest.mark.parametrize("wrap", [bytes, elf64, elf32, tar_xz])
def test_btf_of_a_raw_file_and_of_an_elf_file_are_the_same(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vmlinux-6.1"
    path.write_bytes(wrap(btf_blob()))
    assert read_btf_file(path) == btf_blob()
    target = target_from_file(path)
    assert target.custom_btf
    assert target.release == "6.1"
    assert [len(btf) for btf in target.btfs] == [2]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (elf64(b"x", name=b".text"), "without a section '.BTF'"),
        (elf64(btf_blob(), flags=0x800), "without a section '.BTF'"),
        (elf64(b"x")[:-10], "cut short"),
        (elf64(b"x")[:40], "cut short"),
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
    whole, path = elf64(btf_blob()), tmp_path / "vmlinux"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(LoaderError):
            target_from_file(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_btf_file(tmp_path / "none")


@pytest.mark.parametrize("magic", [b"ARM\x64", b"RSC\x05"])
def test_btf_is_found_in_an_image_that_is_not_packed(tmp_path: Path, magic: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(
        raw_image(bytes(1 << 20), b"\x9f\xeb\x01\0\x18\0\0\0" + bytes(99), btf_blob(), bytes(999), magic=magic)
    )
    assert read_btf_file(path) == btf_blob()
    path.write_bytes(raw_image(bytes((1 << 20) - 4096 - 6), btf_blob()))  # over the end of what is read at once
    assert read_btf_file(path) == btf_blob()


def test_image_that_is_not_packed_may_have_no_btf(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    for rest in (b"", bytes(5000), btf_blob()[:-2], btf_blob()[:30]):
        path.write_bytes(raw_image(rest))
        with pytest.raises(NoBtfError, match="without BTF"):
            read_btf_file(path)
    path.write_bytes(raw_image(btf_blob()[:12] * 1000))
    with pytest.raises(LimitError, match="256 places"):
        read_btf_file(path)


def test_image_packed_with_lzo_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(b"\x89LZO\0\r\n\x1a\n" + bytes(99)))
    with pytest.raises(FeatureMissingError, match="LZO"):
        read_btf_file(path)


def test_what_is_no_regular_file_is_refused_and_does_not_block(tmp_path: Path) -> None:
    fifo, closed = tmp_path / "fifo", tmp_path / "empty"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(FileError, match="not a regular file"):
            read_btf_file(path)
    with pytest.raises(FileError, match="null"):
        read_btf_file(Path("a\0b"))
    closed.touch()
    with pytest.raises(ObjectError, match="neither BTF nor"):
        read_btf_file(closed)


@pytest.mark.parametrize("at", [124, 257, 130])
def test_broken_archive_is_refused(tmp_path: Path, at: int) -> None:
    path = tmp_path / "x.btf.tar.xz"
    archive = bytearray(lzma.decompress(tar_xz(btf_blob())))
    archive[at] = 0xFF
    path.write_bytes(lzma.compress(archive))
    with pytest.raises(ObjectError, match=r"broken|neither BTF"):
        read_btf_file(path)
    path.write_bytes(lzma.compress(lzma.decompress(tar_xz(btf_blob()))[:530]))
    with pytest.raises(ObjectError, match="ends inside"):
        read_btf_file(path)


def test_many_sections_with_one_long_name_take_no_time(tmp_path: Path) -> None:
    names, count = b"x" * (1 << 20), 60_000
    ehdr = b"\x7fELF\x02\x01\x01" + bytes(9)
    ehdr += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(names), 0, 64, 0, 0, 64, count, 0)
    header = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
    (tmp_path / "x").write_bytes(ehdr + names + header * count)
    begin = time.process_time()
    with pytest.raises(NoBtfError):
        read_btf_file(tmp_path / "x")
    assert time.process_time() - begin < 1


def test_records_of_a_file_are_checked_to_the_end() -> None:
    types = encode_types([Int("int", 4, 0, 0, 32), Int("long", 8, 0, 0, 64)], byteorder=sys.byteorder)
    broken = types.replace(struct.pack("=I", BtfKind.INT << 24), struct.pack("=I", 64 << 24))
    with pytest.raises(BtfError, match="kind 64 is unknown"):
        kernel_types(broken, name="file")

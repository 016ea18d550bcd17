import struct
from pathlib import Path

import pytest

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Int
from xdploaderd.errors import FileError, LoaderError, ObjectError
from xdploaderd.kernel.btf_file import read_btf_file
from xdploaderd.kernel.target import target_from_file


def _blob() -> bytes:
    builder = BtfBuilder()
    builder.add(Int("int", 4, 1, 0, 32))
    return builder.encode()


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


@pytest.mark.parametrize("wrap", [bytes, _elf])
def test_btf_of_a_raw_file_and_of_an_elf_file_are_the_same(tmp_path: Path, wrap: type[bytes]) -> None:
    path = tmp_path / "vmlinux-6.1"
    path.write_bytes(wrap(_blob()))
    assert read_btf_file(path) == _blob()
    target = target_from_file(path)
    assert target.custom_btf
    assert target.release == "vmlinux-6.1"
    assert [len(btf) for btf in target.btfs] == [2]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (_elf(b"x", name=b".text"), "without a section '.BTF'"),
        (_elf(_blob(), flags=0x800), "without a section '.BTF'"),
        (_elf(b"x")[:-10], "cut short"),
        (_elf(b"x")[:40], "no 64-bit one"),
        (b"\x7fELF\x01\x01" + bytes(80), "no 64-bit one"),
        (b"\x7fELF\x02\x01" + b"\xff" * 80, "malformed"),
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

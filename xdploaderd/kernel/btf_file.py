"""BTF of a kernel out of a file of any usual form: raw, ELF, a compressed kernel image, or BTFHub's archive.

Memory stays small whatever the file is: of ELF files only the section `.BTF` is read, and what is compressed goes
through a temporary file (libbpf btf__parse, scripts/extract-vmlinux).
"""

import os
from typing import BinaryIO

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import NoBtfError, ObjectError
from xdploaderd.kernel.compression import compression_of, payload_range, unpacked
from xdploaderd.kernel.elf_btf import BTF_MAX, ELF_MAGIC, read_btf_section, read_range
from xdploaderd.kernel.raw_image import is_raw_image, read_image_btf
from xdploaderd.kernel.regular_file import open_regular, unreadable
from xdploaderd.kernel.tar_file import MAGIC, MAGIC_AT, first_member

_BTF_MAGICS = (b"\x9f\xeb", b"\xeb\x9f")
_HEAD = 4096  # bytes by which a file's form is told
_DEPTH_MAX = 3  # an archive in a compressed file holds the file


def read_btf_file(path: str | os.PathLike[str]) -> bytes:
    """Return the BTF bytes.

    Raises FileError when unreadable, NoBtfError for a kernel without BTF, ObjectError for what is no kernel and no
    BTF or is malformed, FeatureMissingError when the library for its compression is not installed.
    """
    try:
        with open_regular(path) as file:
            return _btf_of(file, os.fspath(path), _DEPTH_MAX)
    except OSError as error:
        raise unreadable(path, error) from None


def kernel_types(raw: bytes, *, name: str) -> Btf:
    """Return a kernel's types; BtfError where the records do not fill their section.

    A kernel has 130,000 types, of which objects use some dozen: where these refer to is checked when they are looked
    at, which spares nine tenths of the time.
    """
    btf = Btf.parse(raw, name=name, trusted=True)
    len(btf)  # indexes the records
    return btf


def _btf_of(file: BinaryIO, name: str, depth: int) -> bytes:
    start = read_range(file, 0, _HEAD)
    if start.startswith(ELF_MAGIC):
        return read_btf_section(file, name)
    if start.startswith(_BTF_MAGICS):
        return _whole(file, name)
    if depth and start[MAGIC_AT:].startswith(MAGIC):
        found = first_member(file, b".btf", name)
        if found is None:
            raise NoBtfError(f"'{name}' is an archive without a file '*.btf'")
        return _btf_of(found, name, depth - 1)
    if is_raw_image(start):
        return read_image_btf(file, name)
    payload = payload_range(start)
    offset = payload[0] if payload else 0 if compression_of(start) else None
    if depth and offset is not None:
        with unpacked(file, offset, name) as plain:
            return _btf_of(plain, name, depth - 1)
    raise ObjectError(f"'{name}' is neither BTF nor an ELF file, a kernel image or an archive with one of them")


def _whole(file: BinaryIO, name: str) -> bytes:
    size = file.seek(0, os.SEEK_END)
    if size > BTF_MAX:
        raise ObjectError(f"'{name}': {size} bytes of BTF are too many, at most {BTF_MAX} are taken")
    return read_range(file, 0, size)

"""BTF of a kernel out of a file: raw, or the section `.BTF` of an ELF file such as a vmlinux with debugging data.

A vmlinux may have hundreds of megabytes, so only headers and that section are read (libbpf btf__parse).
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from xdploaderd.errors import FileError, ObjectError

_ELF_MAGIC, _ELFCLASS64, _ELFDATA2LSB, _ELFDATA2MSB = b"\x7fELF", 2, 1, 2
_EHDR_SIZE = 64
_SHDR_SIZE = 64
_SHF_COMPRESSED = 0x800
_SHT_NOBITS = 8
_BTF_MAX = 256 << 20  # bytes; the BTF of a distribution's kernel has 5 to 10 MB


def read_btf_file(path: Path) -> bytes:
    """Return the BTF bytes. Raises FileError when unreadable, ObjectError when there is no BTF to be found in it."""
    try:
        with path.open("rb") as file:
            start = file.read(_EHDR_SIZE)
            if start.startswith(_ELF_MAGIC):
                return _read_btf_section(file, start, path)
            file.seek(0)
            return _read(file, 0, _checked_size(os.fstat(file.fileno()).st_size, path))
    except OSError as error:
        raise FileError(f"cannot read '{path}': {os.strerror(error.errno or 0).lower()}") from None


def _read_btf_section(file: BinaryIO, ehdr: bytes, path: Path) -> bytes:
    orders = {_ELFDATA2LSB: "<", _ELFDATA2MSB: ">"}
    if len(ehdr) < _EHDR_SIZE or ehdr[4] != _ELFCLASS64 or ehdr[5] not in orders:
        raise ObjectError(f"'{path}' is an ELF file, but no 64-bit one")
    order = orders[ehdr[5]]
    (shoff,) = struct.unpack_from(f"{order}Q", ehdr, 40)
    entsize, count, names_index = struct.unpack_from(f"{order}HHH", ehdr, 58)
    if entsize != _SHDR_SIZE or names_index >= count:
        raise ObjectError(f"'{path}': the ELF section table is malformed")
    table = _read(file, shoff, count * _SHDR_SIZE)
    headers = list(struct.iter_unpack(f"{order}IIQQQQIIQQ", table[: len(table) // _SHDR_SIZE * _SHDR_SIZE]))
    if len(headers) != count:
        raise ObjectError(f"'{path}': the ELF section table is cut short")
    names = _read(file, headers[names_index][4], _checked_size(headers[names_index][5], path))
    for name, kind, flags, _addr, offset, size, *_rest in headers:
        if names[name : names.find(b"\0", name)] == b".BTF" and kind != _SHT_NOBITS and not flags & _SHF_COMPRESSED:
            return _read(file, offset, _checked_size(size, path))
    raise ObjectError(f"'{path}' is an ELF file without a section '.BTF'")


def _checked_size(size: int, path: Path) -> int:
    if size > _BTF_MAX:
        raise ObjectError(f"'{path}': {size} bytes of BTF are too many, at most {_BTF_MAX} are taken")
    return size


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read what there is of a range; offsets no file can have count as empty."""
    if offset >= 1 << 63:
        return b""
    file.seek(offset)
    return file.read(size)

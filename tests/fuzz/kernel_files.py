"""The target `kernel_file`: bytes as a file that is said to hold a kernel's BTF, in any form that is read."""

import contextlib
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

from tests.builders.kernel_file import COMPRESSIONS, btf_blob, bzimage, elf32, elf64, raw_image, tar_xz
from tests.fuzz import mutate
from xdploaderd.errors import LoaderError
from xdploaderd.kernel import unpack
from xdploaderd.kernel.btf_file import kernel_types, read_btf_file
from xdploaderd.verdict.abilities import read_abilities

UNPACKED_MAX = 16 << 20  # bytes; at the real bound of 1 GiB a bomb takes longer than an input may
_PACKERS: Mapping[bytes, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": (gzip.decompress, gzip.compress),
    b"\xfd7zXZ\0": (lzma.decompress, lzma.compress),
}
_FAULTS = (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error)


def run_kernel_file(raw: bytes) -> None:
    """Read the BTF of a file with these bytes, and what it says of its kernel."""
    fd = os.memfd_create("kernel")
    try:
        os.write(fd, raw)
        with mock.patch.object(unpack, "UNPACKED_MAX", UNPACKED_MAX):
            found = read_btf_file(Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)
    read_abilities(kernel_types(found, name="fuzz"))


def kernel_files() -> Mapping[str, bytes]:
    """Return a file of each form."""
    plain = elf64(btf_blob())
    packed = {name: compress(plain) for name, compress in COMPRESSIONS.items()}
    return {
        **packed,
        **{f"bzimage-{name}": bzimage(raw) for name, raw in packed.items()},
        "raw": btf_blob(),
        "elf64": plain,
        "elf32": elf32(btf_blob()),
        "tar": tar_xz(btf_blob()),
        "image": raw_image(btf_blob()),
    }


def mutate_kernel_file(raw: bytes, chance: mutate.Chance) -> bytes:
    """Change fields of headers; where the bytes are packed, mostly of what is inside."""
    packers = next((found for magic, found in _PACKERS.items() if raw.startswith(magic)), None)
    if packers and chance.random() < 0.7:
        with contextlib.suppress(*_FAULTS):
            return packers[1](mutate.mutate_words(packers[0](raw), chance))
    if raw.startswith(b"\x7fELF\x02"):
        with contextlib.suppress(LoaderError):
            return mutate.mutate_elf(raw, chance)
    return mutate.mutate_words(raw, chance)

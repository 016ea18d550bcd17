"""What is wrong with a file header that no BPF compiler writes, in the names that elftools has for it."""

import struct

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs

from xdploaderd.errors import ObjectError
from xdploaderd.obj.elf_headers import EHDR_SIZE, SHDR_SIZE

# Whatever the foreign parser raises on malformed bytes.
_FOREIGN = (ELFError, ConstructError, OverflowError, MemoryError, struct.error, UnicodeError, RecursionError)


def refusal(raw: bytes, byteorder: str) -> ObjectError:
    """Return an error with the names of what the file is; `raw` has a file header that is not as compilers write it."""
    try:
        header = _structs(byteorder).Elf_Ehdr.parse(raw[:EHDR_SIZE])
    except _FOREIGN as error:
        return ObjectError(f"not a well-formed ELF file: {_reason(error)}")
    if header["e_type"] != "ET_REL":
        return ObjectError(f"ELF type {header['e_type']}, want a relocatable object (ET_REL)")
    if header["e_machine"] not in ("EM_NONE", "EM_BPF"):
        return ObjectError(f"machine {header['e_machine']}, want EM_BPF (or EM_NONE)")
    return ObjectError(f"section headers of {header['e_shentsize']} bytes, want {SHDR_SIZE}")


def _reason(error: BaseException) -> str:
    text = str(error).replace("\n", " ")[:120].strip()
    return f"{type(error).__name__}, {text}" if text else type(error).__name__


def _structs(byteorder: str) -> ELFStructs:
    structs = ELFStructs(little_endian=byteorder == "little", elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    return structs

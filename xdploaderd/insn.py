"""BPF instructions: decode, encode, classify (include/uapi/linux/bpf_common.h, Documentation/bpf/standardization).

Instructions travel as immutable bytes, 8 for each slot, in the byte order of the object they came from; an `Insn` is
decoded only where one is touched.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Insns = bytes
INSN_SIZE = 8

# Instruction classes, sizes and the few opcodes a loader has to know.
BPF_CLASS_MASK = 0x07
BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_JMP32, BPF_ALU64 = range(8)
BPF_SIZE_MASK = 0x18
BPF_W, BPF_H, BPF_B, BPF_DW = 0x00, 0x08, 0x10, 0x18
BPF_SRC_MASK = 0x08  # 0: BPF_K, the operand is imm; 8: BPF_X, it is src_reg
LD_IMM64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: takes two slots
CALL = 0x85  # BPF_JMP | BPF_CALL
EXIT = 0x95

SIZE_BYTES = {BPF_B: 1, BPF_H: 2, BPF_W: 4, BPF_DW: 8}

_LAYOUT = {"little": struct.Struct("<BBhi"), "big": struct.Struct(">BBhi")}


class Insn(NamedTuple):
    """struct bpf_insn: one slot."""

    code: int
    dst_reg: int
    src_reg: int
    off: int
    imm: int

    def is_ld64(self) -> bool:
        """Tell whether this is the first of the two slots of a 64-bit immediate load."""
        return self.code == LD_IMM64


def decode_insn(raw: bytes | bytearray | memoryview, index: int, byteorder: str = "little") -> Insn:
    """Return slot `index`; the register nibbles are swapped on big-endian machines (struct bpf_insn is a bit field)."""
    code, regs, off, imm = _LAYOUT[byteorder].unpack_from(raw, index * INSN_SIZE)
    low, high = regs & 0xF, regs >> 4
    return Insn(code, low, high, off, imm) if byteorder == "little" else Insn(code, high, low, off, imm)


def encode_insn(insn: Insn, byteorder: str = "little") -> bytes:
    """Return the 8 bytes of one slot."""
    low, high = (insn.dst_reg, insn.src_reg) if byteorder == "little" else (insn.src_reg, insn.dst_reg)
    return _LAYOUT[byteorder].pack(insn.code, low | high << 4, insn.off, insn.imm)


def put_insn(raw: bytearray, index: int, insn: Insn, byteorder: str = "little") -> None:
    """Overwrite slot `index`."""
    raw[index * INSN_SIZE : (index + 1) * INSN_SIZE] = encode_insn(insn, byteorder)


def iter_insns(raw: bytes | bytearray, byteorder: str = "little") -> Iterator[Insn]:
    """Yield every slot in order, the second halves of 64-bit loads included."""
    for index in range(len(raw) // INSN_SIZE):
        yield decode_insn(raw, index, byteorder)


def encode_insns(insns: Iterable[Insn], byteorder: str = "little") -> Insns:
    """Return the bytes of a sequence of slots."""
    return b"".join(encode_insn(insn, byteorder) for insn in insns)


def to_s32(value: int) -> int:
    """Fold an integer into the signed 32-bit range that `imm` holds."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value

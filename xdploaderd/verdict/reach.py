"""Which instructions of a linked program can run, as far as constants decide (kernel/bpf/verifier.c prunes likewise).

Poisoned accesses and helpers that a kernel lacks do no harm in dead code. Registers are followed as constants through
CO-RE values, read-only data and jumps. What this cannot follow makes all behind it doubtful, never dead.
"""

import operator
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from xdploaderd.insn import (
    BPF_ALU,
    BPF_ALU64,
    BPF_CLASS_MASK,
    BPF_JMP,
    BPF_JMP32,
    BPF_LD,
    BPF_LDX,
    BPF_SIZE_MASK,
    BPF_SRC_MASK,
    BPF_STX,
    CALL,
    EXIT,
    SIZE_BYTES,
    Insn,
    Insns,
    iter_insns,
    to_s32,
)
from xdploaderd.obj.spec import DataRef, FdRef
from xdploaderd.uapi.bpf import PSEUDO_CALL, PseudoSrc

MAX_STEPS = 400_000
_U64, _U32 = (1 << 64) - 1, (1 << 32) - 1
_OP_MASK = 0xF0
_JA, _JCOND, _MOV, _NEG, _END = 0x00, 0xE0, 0xB0, 0x80, 0xD0
_MODE_MASK, _MODE_MEM, _MODE_ATOMIC, _MODE_IMM = 0xE0, 0x60, 0xC0, 0x00
_FRAME_POINTER = 10


class _Vague(Enum):
    """Values that are no constants: those nobody can know before the program runs, and those lost track of here."""

    OPAQUE = 1
    LOST = 2


class _Pointer(NamedTuple):
    """The address of a byte of a data map's value."""

    map_name: str
    offset: int


_Value = int | _Pointer | _Vague
_Registers = tuple[_Value, ...]
_ENTRY: _Registers = (_Vague.OPAQUE,) * 11
_UNKNOWN_CALLER: _Registers = (_Vague.LOST,) * 11
_ALU: Mapping[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x40: operator.or_,
    0x50: operator.and_,
    0xA0: operator.xor,
}
_COMPARE: Mapping[int, Callable[[int, int], bool]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: lambda a, b: bool(a & b),
    0x50: operator.ne,
    0xA0: operator.lt,
    0xB0: operator.le,
}
_COMPARE_SIGNED: Mapping[int, Callable[[int, int], bool]] = {
    0x60: operator.gt,
    0x70: operator.ge,
    0xC0: operator.lt,
    0xD0: operator.le,
}


@dataclass(frozen=True, slots=True)
class Reach:
    """Instructions that run whatever the input (`certain`: on some path that only input decides), and that may run."""

    certain: Collection[int]
    possible: Collection[int]


def reachable(insns: Insns, fd_refs: Sequence[FdRef], constants: Mapping[str, bytes]) -> Reach:
    """Return the slots of a linked program that can be reached; `constants` has the contents of frozen maps by name."""
    walk = _Walk(tuple(iter_insns(insns, sys.byteorder)), fd_refs, constants)
    walk.run()
    return Reach(certain=walk.certain, possible=walk.states.keys())


class _Walk:
    """A work list over instructions, each with what its registers hold on every way to it."""

    def __init__(self, insns: tuple[Insn, ...], fd_refs: Sequence[FdRef], constants: Mapping[str, bytes]) -> None:
        self.states: dict[int, _Registers] = {}
        self.certain: set[int] = set()
        self._insns = insns
        self._data = {ref.insn_idx: ref for ref in fd_refs if isinstance(ref, DataRef)}
        self._constants = constants
        self._work: list[int] = []

    def run(self) -> None:
        """Follow every way from the first instruction; giving up, all counts as possible and nothing as certain."""
        self._go(0, _ENTRY, certain=True)
        for _ in range(MAX_STEPS):
            if not self._work:
                return
            self._step(self._work.pop())
        self.states = dict.fromkeys(range(len(self._insns)), _UNKNOWN_CALLER)
        self.certain.clear()

    def _go(self, slot: int, registers: _Registers, *, certain: bool) -> None:
        """Arrive at an instruction; it is looked at again when that tells something new."""
        if not 0 <= slot < len(self._insns):
            return
        known = self.states.get(slot)
        joined = registers if known is None else tuple(map(_join, known, registers))
        news = joined != known or (certain and slot not in self.certain)
        if certain:
            self.certain.add(slot)
        self.states[slot] = joined
        if news:
            self._work.append(slot)

    def _step(self, slot: int) -> None:
        insn, registers, certain = self._insns[slot], self.states[slot], slot in self.certain
        kind = insn.code & BPF_CLASS_MASK
        if kind in (BPF_JMP, BPF_JMP32):
            self._jump(slot, insn, registers, certain=certain)
            return
        if insn.is_ld64():
            if insn.src_reg == PseudoSrc.FUNC:
                self._go(slot + 1 + insn.imm, _UNKNOWN_CALLER, certain=certain)
            self._go(slot + 2, _set(registers, insn.dst_reg, self._loaded(slot, insn)), certain=certain)
            return
        self._go(slot + 1, self._computed(insn, registers), certain=certain)

    def _jump(self, slot: int, insn: Insn, registers: _Registers, *, certain: bool) -> None:
        operation = insn.code & _OP_MASK
        if insn.code == EXIT:
            return
        if insn.code & ~BPF_SRC_MASK == CALL:
            if insn.src_reg == PSEUDO_CALL:
                self._go(slot + 1 + insn.imm, _UNKNOWN_CALLER, certain=certain)
            result = _Vague.LOST if insn.src_reg == PSEUDO_CALL else _Vague.OPAQUE
            self._go(slot + 1, (result, *(_Vague.LOST,) * 5, *registers[6:]), certain=certain)
        elif operation == _JA:
            distance = insn.imm if insn.code & BPF_CLASS_MASK == BPF_JMP32 else insn.off
            self._go(slot + 1 + distance, registers, certain=certain)
        else:
            taken = None if operation == _JCOND else _decide(insn, registers)
            sure = certain and (taken is not None or _Vague.LOST not in _operands(insn, registers))
            if taken is not False:
                self._go(slot + 1 + insn.off, registers, certain=sure)
            if taken is not True:
                self._go(slot + 1, registers, certain=sure)

    def _loaded(self, slot: int, insn: Insn) -> _Value:
        if insn.src_reg == 0 and slot + 1 < len(self._insns):
            return insn.imm & _U32 | (self._insns[slot + 1].imm & _U32) << 32
        ref = self._data.get(slot)
        return _Pointer(ref.map_name, ref.value_off) if ref else _Vague.OPAQUE

    def _computed(self, insn: Insn, registers: _Registers) -> _Registers:
        match insn.code & BPF_CLASS_MASK:
            case code if code in (BPF_ALU, BPF_ALU64):
                return _set(registers, insn.dst_reg, _arithmetic(insn, registers))
            case code if code == BPF_LDX:
                return _set(registers, insn.dst_reg, self._read(insn, registers[insn.src_reg % 11]))
            case code if code == BPF_LD:
                return (_Vague.OPAQUE, *(_Vague.LOST,) * 5, *registers[6:])
            case code if code == BPF_STX and insn.code & _MODE_MASK == _MODE_ATOMIC:
                return _set(_set(registers, insn.src_reg, _Vague.LOST), 0, _Vague.LOST)
        return registers

    def _read(self, insn: Insn, base: _Value) -> _Value:
        if insn.src_reg == _FRAME_POINTER:
            return _Vague.LOST
        if not isinstance(base, _Pointer):
            return base if base is _Vague.LOST else _Vague.OPAQUE
        contents = self._constants.get(base.map_name)
        at, size = base.offset + insn.off, SIZE_BYTES[insn.code & BPF_SIZE_MASK]
        if contents is None:
            return _Vague.OPAQUE
        if not 0 <= at <= len(contents) - size or insn.code & _MODE_MASK != _MODE_MEM:
            return _Vague.LOST
        return int.from_bytes(contents[at : at + size], sys.byteorder)


def _join(one: _Value, other: _Value) -> _Value:
    return one if one == other and type(one) is type(other) else _Vague.LOST


def _set(registers: _Registers, number: int, value: _Value) -> _Registers:
    number %= len(registers)
    return (*registers[:number], value, *registers[number + 1 :])


def _operands(insn: Insn, registers: _Registers) -> tuple[_Value, _Value]:
    source = registers[insn.src_reg % 11] if insn.code & BPF_SRC_MASK else insn.imm & _U64
    return registers[insn.dst_reg % 11], source


def _decide(insn: Insn, registers: _Registers) -> bool | None:
    """Return whether a jump is taken; None when constants do not say."""
    left, right = _operands(insn, registers)
    if isinstance(left, _Pointer) and right == 0:  # of a data map: never null
        return {0x10: False, 0x50: True}.get(insn.code & _OP_MASK)
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    bits = 32 if insn.code & BPF_CLASS_MASK == BPF_JMP32 else 64
    left, right = left & ((1 << bits) - 1), right & ((1 << bits) - 1)
    operation = insn.code & _OP_MASK
    if operation in _COMPARE:
        return _COMPARE[operation](left, right)
    if operation in _COMPARE_SIGNED:
        return _COMPARE_SIGNED[operation](_signed(left, bits), _signed(right, bits))
    return None


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _arithmetic(insn: Insn, registers: _Registers) -> _Value:
    left, right = _operands(insn, registers)
    operation, wide = insn.code & _OP_MASK, insn.code & BPF_CLASS_MASK == BPF_ALU64
    if operation in (_NEG, _END):
        return left if isinstance(left, _Vague) else _Vague.LOST
    if operation == _MOV:
        return _moved(right, wide=wide, extending=bool(insn.off))
    if isinstance(left, _Pointer) and isinstance(right, int) and operation == 0 and wide:
        return left._replace(offset=left.offset + to_s32(right))
    if isinstance(left, int) and isinstance(right, int):
        return _folded(operation, left, right, wide=wide)
    both = (left, right)
    return _Vague.LOST if _Vague.LOST in both or any(isinstance(each, _Pointer) for each in both) else _Vague.OPAQUE


def _moved(source: _Value, *, wide: bool, extending: bool) -> _Value:
    if isinstance(source, _Vague) or (wide and not extending):
        return source
    return source & _U32 if isinstance(source, int) and not extending else _Vague.LOST


def _folded(operation: int, left: int, right: int, *, wide: bool) -> _Value:
    mask, bits = (_U64, 64) if wide else (_U32, 32)
    left, right = left & mask, right & mask
    match operation:
        case _ if operation in _ALU:
            return _ALU[operation](left, right) & mask
        case 0x60:
            return left << (right % bits) & mask
        case 0x70:
            return left >> (right % bits)
        case 0xC0:
            return _signed(left, bits) >> (right % bits) & mask
    return _Vague.LOST

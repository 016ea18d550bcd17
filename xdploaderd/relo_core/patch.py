"""Write a CO-RE decision into its instruction, or poison it (libbpf relo_core.c, bpf_core_patch_insn)."""

from xdploaderd.errors import CoreRelocationError, error_context
from xdploaderd.insn import (
    BPF_ALU,
    BPF_ALU64,
    BPF_B,
    BPF_CLASS_MASK,
    BPF_DW,
    BPF_H,
    BPF_LD,
    BPF_LDX,
    BPF_SIZE_MASK,
    BPF_SRC_MASK,
    BPF_ST,
    BPF_STX,
    BPF_W,
    CALL,
    INSN_SIZE,
    SIZE_BYTES,
    Insn,
    decode_insn,
    put_insn,
    to_s32,
)
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.values import U64, CoreValue

POISON_IMM = 195896080  # 0xbad2310: the number of no helper; what libbpf's users know from verifier logs
MAX_OFF = 0x7FFF
_POISON = Insn(CALL, 0, 0, 0, POISON_IMM)
_SIZE_CODES = {1: BPF_B, 2: BPF_H, 4: BPF_W, 8: BPF_DW}
_UNRESIZABLE = "the field's type or size differs, and only pointers and unsigned numbers may be read in another size"


def patch_insn(insns: bytearray, decision: CoreDecision) -> CoreDecision:
    """Write the decision into `insns` at `decision.insn_idx`, and return it with the bytes before and after.

    Raises CoreRelocationError, and leaves `insns` alone, when the instruction does not hold the value it should, or
    cannot hold the new one.
    """
    index, byteorder = decision.insn_idx, decision.byteorder
    with error_context(f"CO-RE relo #{decision.number} at insn #{index}"):
        old = _slots(insns, index, byteorder)
        poison = decision.value.poison or _is_unresizable(old[0], decision.value)
        new = [_POISON] * len(old) if poison else _patched(old, decision.value)
    start, end = index * INSN_SIZE, (index + len(old)) * INSN_SIZE
    before = bytes(insns[start:end])
    for slot, insn in enumerate(new):
        put_insn(insns, index + slot, insn, byteorder)
    reason = decision.reason if decision.value.poison or not poison else _UNRESIZABLE
    return decision._replace(before=before, after=bytes(insns[start:end]), poisoned=poison, reason=reason)


def _slots(insns: bytearray, index: int, byteorder: str) -> list[Insn]:
    """Return the one or two slots of the instruction."""
    count = len(insns) // INSN_SIZE
    if not 0 <= index < count:
        raise CoreRelocationError(f"there is no such instruction, the program has {count}")
    first = decode_insn(insns, index, byteorder)
    if not first.is_ld64():
        return [first]
    if index + 1 == count:
        raise CoreRelocationError("the second half of its 64-bit load is behind the program's end")
    return [first, decode_insn(insns, index + 1, byteorder)]


def _is_memory_access(insn: Insn) -> bool:
    return insn.code & BPF_CLASS_MASK in {BPF_LDX, BPF_ST, BPF_STX}


def _is_unresizable(insn: Insn, value: CoreValue) -> bool:
    if not _is_memory_access(insn) or value.may_resize:
        return False
    _patched_access(insn, value._replace(new_size=value.original_size))  # what is wrong besides is an error
    return True


def _patched(old: list[Insn], value: CoreValue) -> list[Insn]:
    first = old[0]
    match first.code & BPF_CLASS_MASK:
        case code if code in {BPF_ALU, BPF_ALU64}:
            return [_patched_immediate(first, value)]
        case code if code in {BPF_LDX, BPF_ST, BPF_STX}:
            return [_patched_access(first, value)]
        case code if code == BPF_LD and len(old) == 2:  # noqa: PLR2004 - the two slots of a 64-bit load
            return _patched_ld64(first, old[1], value)
        case _:
            raise CoreRelocationError(f"code {first.code:#04x} is no instruction that can be relocated")


def _patched_immediate(insn: Insn, value: CoreValue) -> Insn:
    if insn.code & BPF_SRC_MASK:
        raise CoreRelocationError("its operand is a register, want an immediate number")
    _check(insn.imm & U64, value)
    return insn._replace(imm=to_s32(value.new))


def _patched_access(insn: Insn, value: CoreValue) -> Insn:
    _check(insn.off & U64, value)
    if value.new > MAX_OFF:
        raise CoreRelocationError(f"new offset {value.new} does not fit the instruction, want at most {MAX_OFF}")
    if value.new_size == value.original_size:
        return insn._replace(off=value.new)
    size = SIZE_BYTES[insn.code & BPF_SIZE_MASK]
    if size != value.original_size:
        raise CoreRelocationError(f"it accesses {size} bytes of a field of {value.original_size} that changes its size")
    if value.new_size not in _SIZE_CODES:
        raise CoreRelocationError(f"the field has {value.new_size} bytes in the target, want 1, 2, 4 or 8")
    return insn._replace(code=insn.code & ~BPF_SIZE_MASK | _SIZE_CODES[value.new_size], off=value.new)


def _patched_ld64(first: Insn, second: Insn, value: CoreValue) -> list[Insn]:
    if first.src_reg or first.off or second._replace(imm=0) != Insn(0, 0, 0, 0, 0):
        raise CoreRelocationError("its 64-bit load is not one of a plain number")
    _check(first.imm & 0xFFFFFFFF | (second.imm & 0xFFFFFFFF) << 32, value)
    return [first._replace(imm=to_s32(value.new)), second._replace(imm=to_s32(value.new >> 32))]


def _check(found: int, value: CoreValue) -> None:
    if value.validate and found != value.original:
        raise CoreRelocationError(f"the instruction holds {found}, want the object's own value {value.original}")

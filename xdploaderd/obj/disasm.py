"""Instructions as text in the kernel's own notation (kernel/bpf/disasm.c); what load fills in appears by its name."""

import sys
from collections.abc import Iterator, Mapping

from xdploaderd.insn import (
    BPF_ALU,
    BPF_ALU64,
    BPF_CLASS_MASK,
    BPF_DW,
    BPF_JMP,
    BPF_JMP32,
    BPF_LD,
    BPF_LDX,
    BPF_SIZE_MASK,
    BPF_SRC_MASK,
    BPF_ST,
    BPF_STX,
    CALL,
    EXIT,
    INSN_SIZE,
    SIZE_BYTES,
    Insn,
    decode_insn,
)
from xdploaderd.obj.spec import DataRef, ExternRef, KsymRef, MapRef, PreparedProgram
from xdploaderd.uapi.bpf import PSEUDO_CALL, PSEUDO_KFUNC_CALL, Helper, PseudoSrc

_OP_MASK, _MODE_MASK = 0xF0, 0xE0
_END, _NEG, _MOV, _JA, _JCOND = 0xD0, 0x80, 0xB0, 0x00, 0xE0
_DIV, _MOD = 0x30, 0x90
_ABS, _IND, _ATOMIC, _MEMSX = 0x20, 0x40, 0xC0, 0x80
_FETCH, _XCHG, _CMPXCHG, _LOAD_ACQ, _STORE_REL = 0x01, 0xE1, 0xF1, 0x100, 0x110
_ALU = {
    0x00: "+=",
    0x10: "-=",
    0x20: "*=",
    0x30: "/=",
    0x40: "|=",
    0x50: "&=",
    0x60: "<<=",
    0x70: ">>=",
    0x90: "%=",
    0xA0: "^=",
    0xB0: "=",
    0xC0: "s>>=",
}
_JUMP = {
    0x10: "==",
    0x20: ">",
    0x30: ">=",
    0x40: "&",
    0x50: "!=",
    0x60: "s>",
    0x70: "s>=",
    0xA0: "<",
    0xB0: "<=",
    0xC0: "s<",
    0xD0: "s<=",
}
_ATOMICS = {0x00: ("+=", "add"), 0x40: ("|=", "or"), 0x50: ("&=", "and"), 0xA0: ("^=", "xor")}


def disassemble(program: PreparedProgram) -> Iterator[tuple[int, bytes, str]]:
    """Yield (slot, bytes, text) of each instruction; a two-slot load is one."""
    names = _references(program)
    slot, count = 0, len(program.insns) // INSN_SIZE
    while slot < count:
        insn = decode_insn(program.insns, slot, sys.byteorder)
        size = 2 if insn.is_ld64() and slot + 1 < count else 1
        raw = program.insns[slot * INSN_SIZE : (slot + size) * INSN_SIZE]
        second = decode_insn(raw, 1, sys.byteorder) if size > 1 else None
        yield slot, raw, _text(insn, second, names.get(slot, ""))
        slot += size


def _references(program: PreparedProgram) -> Mapping[int, str]:
    """Return what each place refers to, in words."""
    names: dict[int, str] = {}
    for ref in program.fd_refs:
        match ref:
            case MapRef(insn_idx, map_name):
                names[insn_idx] = f"map '{map_name}'"
            case DataRef(insn_idx, map_name, value_off):
                names[insn_idx] = f"map '{map_name}'[0]+{value_off}"
            case KsymRef(insn_idx, module):
                names[insn_idx] = f"of module '{module}'"
    for extern in program.externs:
        names[extern.insn_idx] = _extern(extern, names.get(extern.insn_idx, ""))
    return names


def _extern(extern: ExternRef, more: str) -> str:
    return f"extern '{extern.symbol}'" + (f" ({more})" if more else "")


def _text(insn: Insn, second: Insn | None, name: str) -> str:
    match insn.code & BPF_CLASS_MASK:
        case code if code in (BPF_ALU, BPF_ALU64):
            text = _arithmetic(insn)
        case code if code in (BPF_JMP, BPF_JMP32):
            return f"({insn.code:02x}) {_jump(insn, name)}"
        case code if code == BPF_LDX:
            sign = "s" if insn.code & _MODE_MASK == _MEMSX else "u"
            text = f"r{insn.dst_reg} = *({_width(insn, sign)} *)(r{insn.src_reg} {insn.off:+d})"
        case code if code == BPF_ST:
            text = f"*({_width(insn)} *)(r{insn.dst_reg} {insn.off:+d}) = {insn.imm}"
        case code if code == BPF_STX:
            text = _store(insn)
        case _:
            text = _load(insn, second, name)
    return f"({insn.code:02x}) {text}"


def _width(insn: Insn, sign: str = "u") -> str:
    return f"{sign}{SIZE_BYTES[insn.code & BPF_SIZE_MASK] * 8}"


def _arithmetic(insn: Insn) -> str:
    operation, wide = insn.code & _OP_MASK, insn.code & BPF_CLASS_MASK == BPF_ALU64
    register = "r" if wide else "w"
    if operation == _END:
        order = "bswap" if wide else "be" if insn.code & BPF_SRC_MASK else "le"
        return f"r{insn.dst_reg} = {order}{insn.imm} r{insn.dst_reg}"
    if operation == _NEG:
        return f"{register}{insn.dst_reg} = -{register}{insn.dst_reg}"
    if operation not in _ALU:
        return f"unknown code {insn.code:#04x}"
    sign = "s" if operation in (_DIV, _MOD) and insn.off == 1 else ""
    source = f"{register}{insn.src_reg}" if insn.code & BPF_SRC_MASK else f"{insn.imm}"
    if operation == _MOV and insn.code & BPF_SRC_MASK and insn.off:
        source = f"(s{insn.off}){source}"
    return f"{register}{insn.dst_reg} {sign}{_ALU[operation]} {source}"


def _store(insn: Insn) -> str:
    place = f"({_width(insn)} *)(r{insn.dst_reg} {insn.off:+d})"
    if insn.code & _MODE_MASK != _ATOMIC:
        return f"*{place} = r{insn.src_reg}"
    wide = "64" if insn.code & BPF_SIZE_MASK == BPF_DW else ""
    special = {
        _CMPXCHG: f"r0 = atomic{wide}_cmpxchg({place}, r0, r{insn.src_reg})",
        _XCHG: f"r{insn.src_reg} = atomic{wide}_xchg({place}, r{insn.src_reg})",
        _LOAD_ACQ: f"r{insn.dst_reg} = load_acquire(({_width(insn)} *)(r{insn.src_reg} {insn.off:+d}))",
        _STORE_REL: f"store_release({place}, r{insn.src_reg})",
    }
    if insn.imm in special:
        return special[insn.imm]
    sign, word = _ATOMICS.get(insn.imm & ~_FETCH, ("", ""))
    if not word:
        return f"unknown atomic operation {insn.imm:#x}"
    if insn.imm & _FETCH:
        return f"r{insn.src_reg} = atomic{wide}_fetch_{word}({place}, r{insn.src_reg})"
    return f"lock *{place} {sign} r{insn.src_reg}"


def _load(insn: Insn, second: Insn | None, name: str) -> str:
    mode = insn.code & _MODE_MASK
    if mode == _ABS:
        return f"r0 = *({_width(insn)} *)skb[{insn.imm}]"
    if mode == _IND:
        return f"r0 = *({_width(insn)} *)skb[r{insn.src_reg} + {insn.imm}]"
    if second is None or insn.code & BPF_CLASS_MASK != BPF_LD:
        return f"unknown code {insn.code:#04x}"
    return f"r{insn.dst_reg} = {_loaded(insn, second, name)}"


def _loaded(insn: Insn, second: Insn, name: str) -> str:
    low = insn.imm & 0xFFFFFFFF
    match insn.src_reg:
        case PseudoSrc.FUNC:
            return f"subprog[{insn.imm:+d}]"
        case PseudoSrc.BTF_ID:
            return f"type [{low}] {name}".rstrip()
        case 0:
            return f"{low | (second.imm & 0xFFFFFFFF) << 32:#x}" + (f" ; {name}" if name else "")
    return name


def _jump(insn: Insn, name: str) -> str:
    operation, narrow = insn.code & _OP_MASK, insn.code & BPF_CLASS_MASK == BPF_JMP32
    if insn.code == EXIT:
        return "exit"
    if insn.code & ~BPF_SRC_MASK == CALL:
        return _call(insn, name)
    if operation == _JA:
        return f"gotol pc{insn.imm:+d}" if narrow else f"goto pc{insn.off:+d}"
    if operation == _JCOND:
        return f"may_goto pc{insn.off:+d}"
    if operation not in _JUMP:
        return f"unknown code {insn.code:#04x}"
    register = "w" if narrow else "r"
    source = f"{register}{insn.src_reg}" if insn.code & BPF_SRC_MASK else f"{insn.imm & 0xFFFFFFFF:#x}"
    return f"if {register}{insn.dst_reg} {_JUMP[operation]} {source} goto pc{insn.off:+d}"


def _call(insn: Insn, name: str) -> str:
    if insn.src_reg == PSEUDO_CALL:
        return f"call pc{insn.imm:+d}"
    if insn.src_reg == PSEUDO_KFUNC_CALL:
        return f"call kernel-function [{insn.imm}]" + (f" {name}" if name else "")
    try:
        return f"call bpf_{Helper(insn.imm).name}#{insn.imm}"
    except ValueError:
        return f"call unknown#{insn.imm}"

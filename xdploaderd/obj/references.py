"""Write what a linked program refers to into its instructions (libbpf.c, bpf_object__relocate_data)."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never

from xdploaderd.errors import RelocationError, error_context
from xdploaderd.insn import CALL, INSN_SIZE, LD_IMM64, Insn, Insns, decode_insn, put_insn, to_s32
from xdploaderd.obj.extern_values import ExternValue, ExternValues, KconfigValue
from xdploaderd.obj.ksyms import Address, KernelType
from xdploaderd.obj.link import LinkedProgram
from xdploaderd.obj.spec import DataRef, ExternRef, FdRef, KsymRef, MapRef
from xdploaderd.uapi.bpf import PSEUDO_KFUNC_CALL, PseudoSrc

# The number of a helper that does not exist: when the verifier reaches the call, its log tells which kfunc was missing.
POISON_KFUNC_BASE = 2_002_000_000
POISON_MAP_BASE = 2_001_000_000  # likewise for a map that is not created
POISONS_MAX = 1_000_000


def write_references(
    linked: LinkedProgram, externs: ExternValues, absent: Mapping[str, int], *, locate: Callable[[int], str]
) -> tuple[Insns, tuple[FdRef, ...]]:
    """Return the program with all set but descriptors, and what those are to be; `locate` names a slot in messages.

    `absent` has the maps that are not created, each with its number among the object's maps.
    RelocationError for an extern without a value and for an instruction that cannot take the reference.
    """
    insns = bytearray(linked.insns)
    fd_refs: list[FdRef] = []
    for reloc in linked.relocs:
        with error_context(partial(locate, reloc.insn_idx)):
            match reloc:
                case MapRef(map_name=name) | DataRef(map_name=name) if name in absent:
                    _poison_map(insns, reloc.insn_idx, absent[name])
                case MapRef() | DataRef():
                    fd_refs.append(_write_map(insns, reloc))
                case ExternRef():
                    fd_refs += _write_extern(insns, reloc, externs)
                case _:
                    assert_never(reloc)
    return bytes(insns), tuple(fd_refs)


def _write_map(insns: bytearray, ref: MapRef | DataRef) -> MapRef | DataRef:
    first, second = _load_at(insns, ref.insn_idx)
    if isinstance(ref, DataRef):
        first, second = first._replace(src_reg=int(PseudoSrc.MAP_VALUE)), second._replace(imm=to_s32(ref.value_off))
    else:
        first = first._replace(src_reg=int(PseudoSrc.MAP_FD))
    _put_load(insns, ref.insn_idx, first._replace(imm=0), second)
    return ref


def _poison_map(insns: bytearray, slot: int, number: int) -> None:
    _load_at(insns, slot)
    call = Insn(CALL, 0, 0, 0, POISON_MAP_BASE + number)
    _put_load(insns, slot, call, call)


def _write_extern(insns: bytearray, ref: ExternRef, externs: ExternValues) -> list[FdRef]:
    value = externs.value_of(ref.symbol)
    if isinstance(value, KconfigValue):
        return [_write_map(insns, DataRef(ref.insn_idx, value.map_name, value.offset))]
    if ref.call:
        _write_call(insns, ref, value, POISON_KFUNC_BASE + externs.order[ref.symbol])
    else:
        _write_load(insns, ref, value)
    if isinstance(value, KernelType) and value.module:
        return [KsymRef(ref.insn_idx, value.module, ref.call)]
    return []


def _write_call(insns: bytearray, ref: ExternRef, value: ExternValue, poison: int) -> None:
    insn = decode_insn(insns, ref.insn_idx, sys.byteorder)
    if insn.code != CALL:
        raise RelocationError(f"extern '{ref.symbol}' is called by an instruction with code {insn.code:#x}")
    match value:
        case KernelType(type_id=type_id):
            insn = insn._replace(src_reg=PSEUDO_KFUNC_CALL, off=0, imm=to_s32(type_id))
        case None:
            insn = Insn(CALL, 0, 0, 0, poison)
        case _:
            raise RelocationError(f"extern '{ref.symbol}' is called, but is no function")
    put_insn(insns, ref.insn_idx, insn, sys.byteorder)


def _write_load(insns: bytearray, ref: ExternRef, value: ExternValue) -> None:
    first, second = _load_at(insns, ref.insn_idx)
    match value:
        case KernelType(type_id=type_id):
            first, second = first._replace(src_reg=int(PseudoSrc.BTF_ID), imm=to_s32(type_id)), second._replace(imm=0)
        case Address(value=address):
            first, second = first._replace(imm=to_s32(address)), second._replace(imm=to_s32(address >> 32))
        case _:
            first, second = first._replace(imm=0), second._replace(imm=0)
    _put_load(insns, ref.insn_idx, first, second)


def _load_at(insns: bytearray, slot: int) -> tuple[Insn, Insn]:
    if not 0 <= slot < len(insns) // INSN_SIZE - 1:
        raise RelocationError("two-slot load does not end inside the program")
    first = decode_insn(insns, slot, sys.byteorder)
    if first.code != LD_IMM64:
        raise RelocationError(f"code is {first.code:#x}, want that of a 64-bit immediate load, {LD_IMM64:#x}")
    return first, decode_insn(insns, slot + 1, sys.byteorder)


def _put_load(insns: bytearray, slot: int, first: Insn, second: Insn) -> None:
    put_insn(insns, slot, first, sys.byteorder)
    put_insn(insns, slot + 1, second, sys.byteorder)

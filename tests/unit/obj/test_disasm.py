"""Instructions as the kernel writes them; the notation is that of `bpftool prog dump xlated`."""

import sys

import pytest

from tests.builders.spec import EXIT_INSN, program
from xdploaderd.insn import CALL, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.disasm import disassemble
from xdploaderd.obj.spec import DataRef, ExternRef, KsymRef, MapRef, PreparedProgram


def text_of(
    *insns: Insn, refs: tuple[MapRef | DataRef | KsymRef, ...] = (), externs: tuple[ExternRef, ...] = ()
) -> str:
    prepared = PreparedProgram(
        spec=program("p", [EXIT_INSN]), insns=encode_insns(insns, sys.byteorder), fd_refs=refs, externs=externs
    )
    return next(disassemble(prepared))[2]


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (Insn(0xB7, 0, 0, 0, 2), "(b7) r0 = 2"),
        (Insn(0xB4, 0, 0, 0, 2), "(b4) w0 = 2"),
        (Insn(0xBF, 6, 1, 0, 0), "(bf) r6 = r1"),
        (Insn(0xBF, 6, 1, 8, 0), "(bf) r6 = (s8)r1"),
        (Insn(0x0F, 1, 2, 0, 0), "(0f) r1 += r2"),
        (Insn(0xC7, 1, 0, 0, 32), "(c7) r1 s>>= 32"),
        (Insn(0x3F, 1, 2, 1, 0), "(3f) r1 s/= r2"),
        (Insn(0x87, 1, 0, 0, 0), "(87) r1 = -r1"),
        (Insn(0xDC, 1, 0, 0, 16), "(dc) r1 = be16 r1"),
        (Insn(0x61, 2, 1, 16, 0), "(61) r2 = *(u32 *)(r1 +16)"),
        (Insn(0x91, 2, 1, -1, 0), "(91) r2 = *(s8 *)(r1 -1)"),
        (Insn(0x7B, 10, 1, -8, 0), "(7b) *(u64 *)(r10 -8) = r1"),
        (Insn(0x62, 10, 0, -4, 7), "(62) *(u32 *)(r10 -4) = 7"),
        (Insn(0xDB, 0, 1, 0, 0), "(db) lock *(u64 *)(r0 +0) += r1"),
        (Insn(0xDB, 0, 1, 0, 1), "(db) r1 = atomic64_fetch_add((u64 *)(r0 +0), r1)"),
        (Insn(0xC3, 0, 1, 0, 0xF1), "(c3) r0 = atomic_cmpxchg((u32 *)(r0 +0), r0, r1)"),
        (Insn(0xDB, 0, 1, 0, 0xE1), "(db) r1 = atomic64_xchg((u64 *)(r0 +0), r1)"),
        (Insn(0x05, 0, 0, 3, 0), "(05) goto pc+3"),
        (Insn(0x06, 0, 0, 0, 3), "(06) gotol pc+3"),
        (Insn(0x15, 1, 0, 4, -1), "(15) if r1 == 0xffffffff goto pc+4"),
        (Insn(0xAE, 1, 2, -4, 0), "(ae) if w1 < w2 goto pc-4"),
        (Insn(CALL, 0, 0, 0, 1), "(85) call bpf_map_lookup_elem#1"),
        (Insn(CALL, 0, 0, 0, 195896080), "(85) call unknown#195896080"),
        (Insn(CALL, 0, 1, 0, -5), "(85) call pc-5"),
        (Insn(CALL, 0, 2, 0, 77), "(85) call kernel-function [77]"),
        (Insn(0x30, 0, 0, 0, 12), "(30) r0 = *(u8 *)skb[12]"),
        (Insn(0x40, 0, 7, 0, 2), "(40) r0 = *(u32 *)skb[r7 + 2]"),
        (Insn(0x95, 0, 0, 0, 0), "(95) exit"),
    ],
)
def test_text_is_the_kernels(insn: Insn, text: str) -> None:
    assert text_of(insn) == text


@pytest.mark.parametrize("code", range(256))
def test_every_code_has_some_text(code: int) -> None:
    assert text_of(Insn(code, 15, 15, -1, -1)).startswith(f"({code:02x}) ")


def test_maps_are_named_and_never_descriptors() -> None:
    load = (Insn(LD_IMM64, 1, 1, 0, 0), Insn(0, 0, 0, 0, 0))
    assert text_of(*load, refs=(MapRef(0, "flows"),)) == "(18) r1 = map 'flows'"
    value = (Insn(LD_IMM64, 1, 2, 0, 0), Insn(0, 0, 0, 0, 8))
    assert text_of(*value, refs=(DataRef(0, "fw.bss", 8),)) == "(18) r1 = map 'fw.bss'[0]+8"


def test_externs_are_named_with_what_they_became() -> None:
    load = (Insn(LD_IMM64, 1, 0, 0, 5), Insn(0, 0, 0, 0, 0))
    assert text_of(*load, externs=(ExternRef(0, "jiffies", False),)) == "(18) r1 = 0x5 ; extern 'jiffies'"
    typed = (Insn(LD_IMM64, 1, 3, 0, 5), Insn(0, 0, 0, 0, 0))
    assert text_of(*typed, externs=(ExternRef(0, "x", False),)) == "(18) r1 = type [5] extern 'x'"
    called = text_of(Insn(CALL, 0, 2, 0, 9), refs=(KsymRef(0, "nf", True),), externs=(ExternRef(0, "f", True),))
    assert called == "(85) call kernel-function [9] extern 'f' (of module 'nf')"

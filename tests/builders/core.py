"""CO-RE decisions over BTF built in memory: one local type against one or more target types."""

from collections.abc import Sequence

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.insn import BPF_ALU64, Insn, encode_insn
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.patch import patch_insn
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver

MOV_IMM = BPF_ALU64 | 0xB0
LDX_MEM = 0x61  # BPF_LDX | BPF_MEM | BPF_W; | 0x18 for double words


def decide(
    local: Btf, targets: Sequence[Btf], kind: CoreReloKind | int, type_id: int, access: str = "0"
) -> CoreDecision:
    """Return the decision on one record, made by a resolver of its own."""
    relo = CoreRelo(0, type_id, access, int(kind))
    return CoreResolver(local, targets).resolve(relo, CorePlace("p", "xdp", 0, 0))


def patch(decision: CoreDecision, *insns: Insn) -> tuple[CoreDecision, bytes]:
    """Write a decision into a program of `insns`; return it and the program."""
    raw = bytearray(b"".join(map(encode_insn, insns)))
    return patch_insn(raw, decision), bytes(raw)

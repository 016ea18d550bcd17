"""How one CO-RE relocation came about, as lines to hold against the debug logs of libbpf and of the kernel."""

from xdploaderd.insn import BPF_ALU, BPF_ALU64, BPF_CLASS_MASK, LD_IMM64, decode_insn
from xdploaderd.relo_core.decision import CoreDecision


def format_decision(decision: CoreDecision) -> tuple[str, ...]:
    """Return the lines of one decision, in the order libbpf logs them."""
    prefix = f"prog '{decision.program}': relo #{decision.number}: "
    lines = [decision.local.text]
    for number, candidate in enumerate(decision.candidates):
        if candidate.mismatch:
            verdict = f"non-matching candidate #{number} {candidate.spec.text} in {candidate.spec.btf}"
            lines.append(f"{verdict}: {candidate.mismatch}")
        else:
            lines.append(f"matching candidate #{number} {candidate.spec.text} in {candidate.spec.btf}")
    lines.append(_format_outcome(decision))
    return tuple(prefix + line for line in lines)


def _format_outcome(decision: CoreDecision) -> str:
    where = f"insn #{decision.insn_idx}"
    value = decision.value
    if decision.poisoned or value.poison:
        return f"{where} poisoned: {decision.reason or 'no candidate matches'}"
    if not decision.after:
        return f"{where}: {value.original} => {value.new}"
    return f"{where} {_what_changed(decision)}"


def _what_changed(decision: CoreDecision) -> str:
    before = decode_insn(decision.before, 0, decision.byteorder)
    after = decode_insn(decision.after, 0, decision.byteorder)
    if before.code == LD_IMM64:
        return f"(LDIMM64) imm64 {_imm64(decision.before, decision)} => {_imm64(decision.after, decision)}"
    if before.code & BPF_CLASS_MASK in {BPF_ALU, BPF_ALU64}:
        return f"(ALU/ALU64) imm {before.imm} => {after.imm}"
    text = f"(LDX/ST/STX) off {before.off} => {after.off}"
    if before.code == after.code:
        return text
    return f"{text}, mem_sz {decision.value.original_size} => {decision.value.new_size}"


def _imm64(raw: bytes, decision: CoreDecision) -> int:
    low, high = (decode_insn(raw, slot, decision.byteorder).imm & 0xFFFFFFFF for slot in (0, 1))
    return low | high << 32

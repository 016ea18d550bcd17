"""The record of how one CO-RE relocation came about, and its text (libbpf's debug log, in our wording)."""

from typing import NamedTuple

from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.insn import BPF_ALU, BPF_ALU64, BPF_CLASS_MASK, LD_IMM64, decode_insn
from xdploaderd.relo_core.spec import CoreSpec, format_spec, format_type
from xdploaderd.relo_core.values import CoreValue


class SpecRecord(NamedTuple):
    """A spec as text and numbers. Texts are made when asked for: most loads end without anybody reading them."""

    spec: CoreSpec

    @property
    def btf(self) -> str:
        """The name of the blob."""
        return self.spec.btf.name

    @property
    def type_id(self) -> int:
        """The id of the root type in the blob."""
        return self.spec.root_type_id

    @property
    def type(self) -> str:
        """The root type as C has it."""
        return format_type(self.spec.btf, self.spec.root_type_id)

    @property
    def text(self) -> str:
        """The spec in libbpf's notation."""
        return format_spec(self.spec)

    @property
    def raw(self) -> tuple[int, ...]:
        """Every index of the access."""
        return self.spec.raw

    @property
    def bit_offset(self) -> int:
        """Where the field lies in the root type."""
        return self.spec.bit_offset


class CandidateRecord(NamedTuple):
    """One candidate: how far it went, and why it does not match (empty: it does)."""

    spec: SpecRecord
    mismatch: str


class CoreDecision(NamedTuple):
    """One CO-RE record decided.

    `number` counts the records of `section`'s group, `insn_idx` is the instruction in `program` (a program or
    subprogram). `target` is None when no candidate matches, and for local_type_id, which looks for none. `before` and
    `after` are the 8 or 16 bytes of the instruction, empty until patch_insn has written it; `poisoned` tells that it
    was made an invalid call, which the verifier refuses when it can be reached.
    """

    program: str
    section: str
    number: int
    insn_idx: int
    kind: CoreReloKind
    local: SpecRecord
    candidates: tuple[CandidateRecord, ...]
    target: SpecRecord | None
    value: CoreValue
    byteorder: str = "little"
    before: bytes = b""
    after: bytes = b""
    poisoned: bool = False
    reason: str = ""


class CoreFailure(NamedTuple):
    """One CO-RE record that could not be decided or written, as far as it came; places as in CoreDecision.

    `kind` is a word of libbpf's, or the number of a kind unknown here. `local` is None for a malformed record.
    """

    program: str
    section: str
    number: int
    insn_idx: int
    kind: str
    error: str
    local: SpecRecord | None = None
    candidates: tuple[CandidateRecord, ...] = ()


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

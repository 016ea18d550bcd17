"""The record of how one CO-RE relocation came about; obj/core_record.py makes JSON and text of it."""

from typing import NamedTuple

from xdploaderd.btf.ext import CoreReloKind
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

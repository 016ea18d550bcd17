"""Decide CO-RE relocations: candidates, the one spec they agree on, its value (libbpf relo_core.c)."""

from collections.abc import Sequence

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.errors import BtfError, CoreRelocationError, error_context
from xdploaderd.relo_core.budget import Budget
from xdploaderd.relo_core.decision import CandidateRecord, CoreDecision, SpecRecord
from xdploaderd.relo_core.match import Candidate, find_candidates, match_spec
from xdploaderd.relo_core.spec import CoreSpec, format_spec, parse_spec
from xdploaderd.relo_core.values import CoreValue, calculate


class CoreResolver:
    """Decides the records of one object for one target, remembering the candidates of each local type.

    `targets` are vmlinux (or the user's own BTF) and then the modules; see find_candidates. As in libbpf the candidates
    of a local type are cut down to those that matched a record, so that the order of records can hide an ambiguity.
    """

    def __init__(self, local: Btf, targets: Sequence[Btf]) -> None:
        self._local = local
        self._targets = targets
        self._candidates: dict[int, tuple[Candidate, ...]] = {}
        self._budget = Budget()

    def resolve(self, relo: CoreRelo, *, program: str, number: int, insn_idx: int) -> CoreDecision:
        """Return the decision on one record; patch_insn writes it.

        `number` is the record's place in its section's group, `insn_idx` the instruction's place in `program`. Raises
        CoreRelocationError for a malformed record and where candidates disagree; the caller adds the program's name.
        """
        with error_context(f"CO-RE relo #{number} at insn #{insn_idx}"):
            try:
                return self._decide(relo, program, number, insn_idx)
            except BtfError as error:
                raise CoreRelocationError(str(error)) from error

    def _decide(self, relo: CoreRelo, program: str, number: int, insn_idx: int) -> CoreDecision:
        local = parse_spec(self._local, relo)
        records: tuple[CandidateRecord, ...] = ()
        target = None
        if local.kind is CoreReloKind.TYPE_ID_LOCAL:
            value = CoreValue(original=local.root_type_id, new=local.root_type_id, validate=False)
        else:
            records, target, value = self._settle(local)
        return CoreDecision(
            program=program,
            number=number,
            insn_idx=insn_idx,
            kind=local.kind,
            local=SpecRecord.of(local),
            candidates=records,
            target=SpecRecord.of(target) if target else None,
            value=value,
            byteorder=self._local.byteorder,
            reason="no candidate matches" if value.poison else "",
        )

    def _settle(self, local: CoreSpec) -> tuple[tuple[CandidateRecord, ...], CoreSpec | None, CoreValue]:
        """Try every candidate; all that match must agree."""
        records: list[CandidateRecord] = []
        matching: list[Candidate] = []
        target: CoreSpec | None = None
        value: CoreValue | None = None
        for candidate in self._candidates_of(local.root_type_id):
            match = match_spec(local, candidate, self._budget)
            records.append(CandidateRecord(SpecRecord.of(match.spec), match.mismatch))
            if match.mismatch:
                continue
            matching.append(candidate)
            found = calculate(local, match.spec, self._local.byteorder)
            if target is None or value is None:
                target, value = match.spec, found
            else:
                _check_agreement(local, (target, value), (match.spec, found))
        if matching:
            self._candidates[local.root_type_id] = tuple(matching)
        return tuple(records), target, value or calculate(local, None, self._local.byteorder)

    def _candidates_of(self, type_id: int) -> tuple[Candidate, ...]:
        if type_id not in self._candidates:
            if not self._targets:
                raise CoreRelocationError("there is no kernel BTF to look for types in")
            self._candidates[type_id] = find_candidates(self._local, type_id, self._targets)
        return self._candidates[type_id]


def _check_agreement(local: CoreSpec, first: tuple[CoreSpec, CoreValue], other: tuple[CoreSpec, CoreValue]) -> None:
    """Raise CoreRelocationError where two candidates match but differ: libbpf refuses to choose, and so do we."""
    (spec, value), (other_spec, other_value) = first, other
    if spec.bit_offset != other_spec.bit_offset:
        difference = f"bit offsets {spec.bit_offset} and {other_spec.bit_offset}"
    elif value.new != other_value.new:
        difference = f"values {value.new} and {other_value.new}"
    else:
        return
    raise CoreRelocationError(
        f"candidates disagree on {format_spec(local)}: {difference}",
        fields={"local": format_spec(local), "candidates": [format_spec(spec), format_spec(other_spec)]},
    )

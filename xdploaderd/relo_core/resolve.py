"""Decide CO-RE relocations: candidates, the one spec they agree on, its value (libbpf relo_core.c)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.errors import BtfError, CoreRelocationError, LoaderError, error_context
from xdploaderd.relo_core.budget import Budget
from xdploaderd.relo_core.decision import CandidateRecord, CoreDecision, CoreFailure, SpecRecord
from xdploaderd.relo_core.match import Candidate, find_candidates, match_spec
from xdploaderd.relo_core.spec import CoreSpec, format_spec, kind_label, parse_spec
from xdploaderd.relo_core.values import CoreValue, calculate


class CorePlace(NamedTuple):
    """Where a record is: its `number` in the group of `section`, and its instruction's place in `program`."""

    program: str
    section: str
    number: int
    insn_idx: int


class _Settled(NamedTuple):
    """What is decided on all records of the same type, access and kind, as long as `tried` are its candidates."""

    kind: CoreReloKind
    local: SpecRecord
    candidates: tuple[CandidateRecord, ...]
    target: SpecRecord | None
    value: CoreValue
    tried: tuple[Candidate, ...] | None


class CoreResolver:
    """Decides the records of one object for one target, remembering the candidates of each local type.

    `targets` are vmlinux (or the user's own BTF) and then the modules; see find_candidates. As in libbpf the candidates
    of a local type are cut down to those that matched a record, so that the order of records can hide an ambiguity.
    """

    def __init__(self, local: Btf, targets: Sequence[Btf]) -> None:
        self._local = local
        self._targets = targets
        self._candidates: dict[int, tuple[Candidate, ...]] = {}
        self._settled: dict[tuple[int, str, int], _Settled] = {}
        self._budget = Budget()

    def resolve(self, relo: CoreRelo, at: CorePlace) -> CoreDecision:
        """Return the decision on one record; patch_insn writes it.

        Raises CoreRelocationError for a malformed record and where candidates disagree; the caller adds the program's
        name.
        """
        with error_context(f"CO-RE relo #{at.number} at insn #{at.insn_idx}"):
            try:
                return self._decide(relo, at)
            except BtfError as error:
                raise CoreRelocationError(str(error)) from error

    def failure(self, relo: CoreRelo, at: CorePlace, error: LoaderError) -> CoreFailure:
        """Return the record of what resolve() or patch_insn() refused: what was asked for and what there was."""
        local: CoreSpec | None = None
        candidates: list[CandidateRecord] = []
        with suppress(LoaderError):  # how far this comes is what the record tells
            local = parse_spec(self._local, relo)
            for candidate in self._candidates.get(relo.type_id, ()):
                match = match_spec(local, candidate, self._budget)
                candidates.append(CandidateRecord(SpecRecord(match.spec), match.mismatch))
        return CoreFailure(
            program=at.program,
            section=at.section,
            number=at.number,
            insn_idx=at.insn_idx,
            kind=kind_label(relo.kind),
            error=error.message,
            local=SpecRecord(local) if local else None,
            candidates=tuple(candidates),
        )

    def _decide(self, relo: CoreRelo, at: CorePlace) -> CoreDecision:
        key = (relo.type_id, relo.access_str, relo.kind)
        settled = self._settled.get(key)
        if settled is None or settled.tried is not self._candidates.get(relo.type_id):
            settled = self._settled[key] = self._settle(parse_spec(self._local, relo))
        return CoreDecision(
            program=at.program,
            section=at.section,
            number=at.number,
            insn_idx=at.insn_idx,
            kind=settled.kind,
            local=settled.local,
            candidates=settled.candidates,
            target=settled.target,
            value=settled.value,
            byteorder=self._local.byteorder,
            reason="no candidate matches" if settled.value.poison else "",
        )

    def _settle(self, local: CoreSpec) -> _Settled:
        if local.kind is CoreReloKind.TYPE_ID_LOCAL:
            value = CoreValue(original=local.root_type_id, new=local.root_type_id, validate=False)
            return _Settled(local.kind, SpecRecord(local), (), None, value, None)
        tried = self._candidates_of(local.root_type_id)
        matches = [match_spec(local, candidate, self._budget) for candidate in tried]
        records = tuple(CandidateRecord(SpecRecord(match.spec), match.mismatch) for match in matches)
        targets = [match.spec for match in matches if not match.mismatch]
        value = _agreed_value(local, targets, self._local.byteorder)
        if 0 < len(targets) < len(tried):
            pruned = (candidate for candidate, match in zip(tried, matches, strict=True) if not match.mismatch)
            self._candidates[local.root_type_id] = tuple(pruned)
        target = next((record.spec for record in records if not record.mismatch), None)
        return _Settled(local.kind, SpecRecord(local), records, target, value, tried)

    def _candidates_of(self, type_id: int) -> tuple[Candidate, ...]:
        if type_id not in self._candidates:
            if not self._targets:
                raise CoreRelocationError("there is no kernel BTF to look for types in")
            self._candidates[type_id] = find_candidates(self._local, type_id, self._targets)
        return self._candidates[type_id]


def _agreed_value(local: CoreSpec, targets: Sequence[CoreSpec], byteorder: str) -> CoreValue:
    """Return what all targets give; libbpf refuses to choose among candidates that differ, and so do we."""
    if not targets:
        return calculate(local, None, byteorder)
    first, value = targets[0], calculate(local, targets[0], byteorder)
    for other in targets[1:]:
        other_value = calculate(local, other, byteorder)
        if first.bit_offset != other.bit_offset:
            difference = f"bit offsets {first.bit_offset} and {other.bit_offset}"
        elif value.new != other_value.new:
            difference = f"values {value.new} and {other_value.new}"
        else:
            continue
        raise CoreRelocationError(
            f"candidates disagree on {format_spec(local)}: {difference}",
            fields={"local": format_spec(local), "candidates": [format_spec(first), format_spec(other)]},
        )
    return value

"""The record of an object's CO-RE decisions as JSON values, and what differs between two targets.

docs/core-log.schema.json describes the values; kinds and specs are written as in libbpf's debug log.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import LineInfo
from xdploaderd.errors import BtfError
from xdploaderd.obj.info_records import LINE_SHIFT
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.printable import printable, quoted
from xdploaderd.relo_core.decision import CandidateRecord, CoreDecision, CoreFailure, SpecRecord
from xdploaderd.relo_core.spec import label_of

Json = dict[str, Any]
_insn_off = attrgetter("insn_off")
# What makes two targets differ for a record; ids and candidates differ between any two kernels.
_OUTCOME = ("new_value", "poisoned", "error", "insn_after")


@dataclass(frozen=True, slots=True)
class CoreDifference:
    """Record `number` of a section's group, which comes to something else on another target."""

    section: str
    number: int
    one: Json | None
    other: Json | None


def core_log(obj: ObjectSpec, records: Iterable[CoreDecision | CoreFailure]) -> list[Json]:
    """Return every record of `obj` that was decided or refused, in the order of .BTF.ext."""
    return [entry for _, entry in _entries(obj, records)]


def core_log_lines(log: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a record as lines, in the order of libbpf's debug log: what is asked for, each candidate, the outcome."""
    for entry in log:
        prefix = f"prog {quoted(entry['program'])}: relo #{entry['number']}: "
        source = f" ({entry['source']})" if entry["source"] else ""
        yield f"{prefix}{entry['local']['spec'] if entry['local'] else entry['kind']}{source}"
        for number, candidate in enumerate(entry["candidates"]):
            reason = f": {candidate['reason']}" if candidate["reason"] else ""
            what = f"{candidate['verdict']} candidate #{number} {candidate['spec']} in {candidate['module']}"
            yield f"{prefix}{what}{reason}"
        yield f"{prefix}insn #{entry['insn_idx']} {_outcome_text(entry)}"


def _outcome_text(entry: Mapping[str, Any]) -> str:
    if entry["error"]:
        return f"refused: {entry['error']}"
    written = f"({entry['insn_before']} => {entry['insn_after']})"
    if entry["poisoned"]:
        return f"poisoned, no candidate matches {written}"
    return f"{entry['original_value']} => {entry['new_value']} {written}"


def core_differences(
    obj: ObjectSpec, one: Iterable[CoreDecision | CoreFailure], other: Iterable[CoreDecision | CoreFailure]
) -> Iterator[CoreDifference]:
    """Yield the records of `obj` whose value, instruction, poison or refusal differs between two targets.

    target_type_id is passed over where both found the type: its number says nothing in another BTF.
    """
    ours, theirs = dict(_entries(obj, one)), dict(_entries(obj, other))
    for place in sorted(ours.keys() | theirs.keys()):
        pair = ours.get(place), theirs.get(place)
        if _outcome(pair[0]) != _outcome(pair[1]):
            _, number, section = place
            yield CoreDifference(section, number, *pair)


def _outcome(entry: Json | None) -> tuple[Any, ...] | None:
    if entry is None:
        return None
    if entry["kind"] == "target_type_id" and entry["target"]:
        return ("found",)
    return tuple(bool(entry[key]) if key == "error" else entry[key] for key in _OUTCOME)


def _entries(
    obj: ObjectSpec, records: Iterable[CoreDecision | CoreFailure]
) -> Iterator[tuple[tuple[int, int, str], Json]]:
    relos = obj.btf_ext.core_relos if obj.btf_ext else {}
    sections = {section: number for number, section in enumerate(relos)}
    sources = _Sources(obj)
    for record in sorted(records, key=lambda record: (sections[record.section], record.number)):
        source = sources.of(record.section, relos[record.section][record.number].insn_off)
        entry = _decided(record, source) if isinstance(record, CoreDecision) else _failed(record, source)
        yield (sections[record.section], record.number, record.section), entry


def _decided(decision: CoreDecision, source: str) -> Json:
    value = decision.value
    return {
        **_place(decision, source, label_of(decision.kind)),
        "local": _spec(decision.local),
        "candidates": [_candidate(candidate) for candidate in decision.candidates],
        "target": _target(decision.target) if decision.target else None,
        "original_value": value.original,
        "new_value": None if value.poison else value.new,
        "poisoned": decision.poisoned,
        "error": None,
        "insn_before": decision.before.hex(),
        "insn_after": decision.after.hex(),
    }


def _failed(failure: CoreFailure, source: str) -> Json:
    return {
        **_place(failure, source, failure.kind),
        "local": _spec(failure.local) if failure.local else None,
        "candidates": [_candidate(candidate) for candidate in failure.candidates],
        "target": None,
        "original_value": None,
        "new_value": None,
        "poisoned": False,
        "error": failure.error,
        "insn_before": "",
        "insn_after": "",
    }


def _place(record: CoreDecision | CoreFailure, source: str, kind: str) -> Json:
    return {
        "program": record.program,
        "section": record.section,
        "number": record.number,
        "insn_idx": record.insn_idx,
        "kind": kind,
        "source": source,
    }


def _spec(spec: SpecRecord) -> Json:
    raw = ":".join(map(str, spec.raw)) or "0"  # records about a type as a whole have this one index
    return {"type_id": spec.type_id, "type": spec.type, "spec": spec.text, "raw_spec": raw}


def _target(spec: SpecRecord) -> Json:
    return {**_spec(spec), "module": spec.btf, "bit_offset": spec.bit_offset}


def _candidate(candidate: CandidateRecord) -> Json:
    verdict = "non-matching" if candidate.mismatch else "matching"
    return {**_target(candidate.spec), "verdict": verdict, "reason": candidate.mismatch}


class _Sources:
    """The source lines of an object's instructions, `FILE:LINE`, by section and byte."""

    def __init__(self, obj: ObjectSpec) -> None:
        self._btf: Btf | None = obj.btf
        infos: Mapping[str, tuple[LineInfo, ...]] = obj.btf_ext.line_infos if obj.btf_ext else {}
        self._sorted = {section: sorted(records, key=_insn_off) for section, records in infos.items()}

    def of(self, section: str, insn_off: int) -> str:
        """Return the line an instruction is of; empty where the object does not say."""
        records = self._sorted.get(section, [])
        at = bisect_right(records, insn_off, key=_insn_off) - 1
        if at < 0 or self._btf is None:
            return ""
        try:
            name = self._btf.string(records[at].file_name_off)
        except BtfError:
            return ""
        return f"{printable(name)}:{records[at].line_col >> LINE_SHIFT}"

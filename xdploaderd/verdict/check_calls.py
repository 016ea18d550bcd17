"""Checks on what a program calls: helpers, their program types and license, calls that mark what is missing."""

import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdploaderd.insn import CALL, Insn, iter_insns
from xdploaderd.obj.references import POISON_KFUNC_BASE, POISON_MAP_BASE, POISONS_MAX
from xdploaderd.obj.spec import PreparedProgram
from xdploaderd.printable import quoted
from xdploaderd.relo_core.patch import POISON_IMM
from xdploaderd.uapi.bpf import Helper, ProgType, enum_name
from xdploaderd.uapi.releases import helper_since, parse_release
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.helper_rules import (
    GPL_ONLY_HELPERS,
    GPL_ONLY_TYPES,
    NEWEST_KNOWN,
    is_gpl_compatible,
    may_call,
)
from xdploaderd.verdict.model import Outcome, Verdict
from xdploaderd.verdict.reach import Reach, reachable

_KFUNC_CALL = 2  # BPF_PSEUDO_KFUNC_CALL
_Slots = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the calls of an object's programs are held to: the kernel, the object's license, its read-only data."""

    abilities: Abilities
    release: str
    license: str
    constants: Mapping[str, bytes]


def called_helpers(program: PreparedProgram) -> Mapping[int, _Slots]:
    """Return the numbers of the helpers a program calls, each with the slots of its calls."""
    found: dict[int, list[int]] = {}
    for slot, insn in _calls(program, 0):
        if not _is_mark(insn.imm):
            found.setdefault(insn.imm, []).append(slot)
    return {number: tuple(slots) for number, slots in sorted(found.items())}


def check_calls(program: PreparedProgram, terms: Terms) -> Iterator[tuple[str, Outcome]]:
    """Yield what the calls of a program come to: `helpers`, and `license` and `poison` where there is a cause."""
    code = _Code(program, terms.constants)
    helpers = called_helpers(program)
    faults = list(_helper_faults(program, helpers, terms, code))
    if helpers and terms.abilities.helpers is None:
        yield "helpers", Outcome(Verdict.UNKNOWN, "the BTF does not say which helpers the kernel has")
    elif not faults:
        yield "helpers", Outcome(Verdict.HOLDS, f"{len(helpers)} helpers")
    for fault in faults:
        yield "helpers", fault
    yield from _license(program, helpers, terms, code)
    marks = tuple(slot for slot, insn in _calls(program, 0) if _is_mark(insn.imm))
    if marks:
        verdict, where = code.verdict_at(marks)
        yield "poison", Outcome(verdict, f"{len(marks)} accesses that the kernel cannot serve, {where}")


class _Code:
    """A program's instructions; which of them can run is found out when it is asked for."""

    def __init__(self, program: PreparedProgram, constants: Mapping[str, bytes]) -> None:
        self._program = program
        self._constants = constants

    @functools.cached_property
    def _reach(self) -> Reach:
        return reachable(self._program.insns, self._program.fd_refs, self._constants)

    def verdict_at(self, slots: _Slots) -> tuple[Verdict, str]:
        """Return what instructions that must not run make of the program."""
        reach = self._reach
        for slot in slots:
            if slot in reach.certain:
                return Verdict.FAILS, f"at insn #{slot}, which can run"
        for slot in slots:
            if slot in reach.possible:
                return Verdict.UNKNOWN, f"at insn #{slot}: the verifier tells whether it can run"
        return Verdict.HOLDS, "in dead code only"


def _helper_faults(
    program: PreparedProgram, helpers: Mapping[int, _Slots], terms: Terms, code: _Code
) -> Iterator[Outcome]:
    known, prog_type = terms.abilities.helpers, program.spec.type
    for number, slots in helpers.items():
        if known is not None and (number <= 0 or number not in known):
            verdict, where = code.verdict_at(slots)
            yield Outcome(verdict, f"the kernel has no {_helper(number)}, called {where}", _since(number))
        elif may_call(prog_type, number) is False:
            verdict, where = code.verdict_at(slots)
            release = parse_release(terms.release)
            if verdict is Verdict.FAILS and (release is None or release > NEWEST_KNOWN):
                verdict, where = Verdict.UNKNOWN, f"{where}; up to Linux {'.'.join(map(str, NEWEST_KNOWN))}"
            type_name = enum_name(ProgType, prog_type or 0)
            yield Outcome(verdict, f"programs of type {type_name} cannot call {_helper(number)}, called {where}")


def _license(
    program: PreparedProgram, helpers: Mapping[int, _Slots], terms: Terms, code: _Code
) -> Iterator[tuple[str, Outcome]]:
    """Yield the check of the license where something asks for one that is compatible with the GPL."""
    wanting = {number: slots for number, slots in helpers.items() if number in GPL_ONLY_HELPERS}
    whole = _wants_gpl(program)
    if not wanting and not whole:
        return
    if is_gpl_compatible(terms.license):
        yield "license", Outcome(Verdict.HOLDS, quoted(terms.license))
        return
    text = f"the license {quoted(terms.license)} is not compatible with the GPL, as wanted by"
    if whole:
        yield "license", Outcome(Verdict.FAILS, f"{text} {whole}")
    for number, slots in wanting.items():
        verdict, where = code.verdict_at(slots)
        yield "license", Outcome(verdict, f"{text} {_helper(number)}, called {where}")


def _wants_gpl(program: PreparedProgram) -> str:
    """Return what asks for the license wherever it stands; calls of kernel functions do in dead code too."""
    if program.spec.type in GPL_ONLY_TYPES:
        return f"type {enum_name(ProgType, program.spec.type or 0)}"
    return "calls of kernel functions" if any(_calls(program, _KFUNC_CALL)) else ""


def _calls(program: PreparedProgram, kind: int) -> Iterator[tuple[int, Insn]]:
    for slot, insn in enumerate(iter_insns(program.insns, sys.byteorder)):
        if insn.code == CALL and insn.src_reg == kind:
            yield slot, insn


def _is_mark(imm: int) -> bool:
    """Tell whether a call is one of the invalid ones that mark what is missing."""
    return imm == POISON_IMM or any(base <= imm < base + POISONS_MAX for base in (POISON_KFUNC_BASE, POISON_MAP_BASE))


def _helper(number: int) -> str:
    try:
        return f"helper bpf_{Helper(number).name}"
    except ValueError:
        return f"helper number {number}"


def _since(number: int) -> str:
    try:
        return helper_since(Helper(number))
    except ValueError:
        return ""

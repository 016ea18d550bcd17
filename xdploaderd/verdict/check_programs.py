"""Checks on programs: type, hook, flags, relocations, helpers, sizes (kernel/bpf/syscall.c, bpf_prog_load)."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdploaderd.errors import LoaderError, UnknownFactError
from xdploaderd.insn import CALL, INSN_SIZE, Insn, iter_insns
from xdploaderd.obj.references import POISON_KFUNC_BASE, POISON_MAP_BASE, POISONS_MAX
from xdploaderd.obj.spec import DataRef, MapRef, PreparedObject, PreparedProgram, ProgramSpec
from xdploaderd.relo_core.patch import POISON_IMM
from xdploaderd.uapi.bpf import AttachType, Feature, Helper, ProgFlags, ProgType, enum_name
from xdploaderd.uapi.releases import ATTACH_TYPES_SINCE, PROG_TYPES_SINCE, XDP_FRAGS_SINCE, helper_since
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.model import Check, Subject, Verdict
from xdploaderd.verdict.reach import Reach, reachable

MAX_INSNS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, which bounds programs of the privileged
MAX_MAPS = 64  # MAX_USED_MAPS


# bpf_prog_load_check_attach refuses what it does not know for these, and for tracing the BTF target is looked up by it.
_HOOK_IS_CHECKED = frozenset(
    {
        ProgType.CGROUP_SKB,
        ProgType.CGROUP_SOCK,
        ProgType.CGROUP_SOCK_ADDR,
        ProgType.CGROUP_SOCKOPT,
        ProgType.SK_LOOKUP,
        ProgType.SK_REUSEPORT,
        ProgType.NETFILTER,
        ProgType.TRACING,
        ProgType.LSM,
    }
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    reason: str = ""
    since: str = ""


def check_programs(
    prepared: PreparedObject, abilities: Abilities, targets: Mapping[str, LoaderError]
) -> Iterator[Check]:
    """Yield the checks on each program that would be loaded; `targets` has the errors of attach targets."""
    constants = {name: spec.contents for name, spec in prepared.maps.items() if spec.freeze and spec.contents}
    for name, spec in prepared.spec.programs.items():
        if not spec.autoload:
            continue
        for check, outcome in _checks(spec, prepared, abilities, targets.get(name), constants):
            yield Check(
                subject=Subject.PROGRAM,
                name=name,
                check=check,
                verdict=outcome.verdict,
                reason=outcome.reason,
                since=outcome.since,
            )


def called_helpers(program: PreparedProgram) -> Mapping[int, tuple[int, ...]]:
    """Return the numbers of the helpers a program calls, each with the slots of its calls."""
    found: dict[int, list[int]] = {}
    for slot, insn in _calls(program):
        if not _is_mark(insn.imm):
            found.setdefault(insn.imm, []).append(slot)
    return {number: tuple(slots) for number, slots in sorted(found.items())}


def _calls(program: PreparedProgram) -> Iterator[tuple[int, Insn]]:
    for slot, insn in enumerate(iter_insns(program.insns, sys.byteorder)):
        if insn.code == CALL and insn.src_reg == 0:
            yield slot, insn


def _is_mark(imm: int) -> bool:
    """Tell whether a call is one of the invalid ones that mark what is missing."""
    return imm == POISON_IMM or any(base <= imm < base + POISONS_MAX for base in (POISON_KFUNC_BASE, POISON_MAP_BASE))


def _checks(
    spec: ProgramSpec,
    prepared: PreparedObject,
    abilities: Abilities,
    target_error: LoaderError | None,
    constants: Mapping[str, bytes],
) -> Iterator[tuple[str, _Outcome]]:
    yield "type", _type(spec, abilities)
    if spec.attach_type:
        yield "hook", _hook(spec, abilities)
    if spec.prog_flags & ProgFlags.XDP_HAS_FRAGS:
        yield "frags", _frags(prepared)
    if target_error is not None:
        yield "target", _of_error(target_error)
    program = prepared.programs.get(spec.name)
    if program is None:
        error = prepared.failed.get(spec.name)
        if error is not None and target_error is None:
            yield "relocation", _of_error(error)
        return
    yield "relocation", _Outcome(Verdict.HOLDS, f"{len(program.insns) // INSN_SIZE} instructions")
    yield from _code(program, abilities, constants)
    yield "limits", _limits(program)


def _of_error(error: LoaderError) -> _Outcome:
    verdict = Verdict.UNKNOWN if isinstance(error, UnknownFactError) else Verdict.FAILS
    return _Outcome(verdict, ": ".join((*error.place[2:], error.message)))


def _type(spec: ProgramSpec, abilities: Abilities) -> _Outcome:
    if spec.type is None:
        return _Outcome(
            Verdict.FAILS, f"section '{spec.section}' does not say the type: --type {spec.name}=xdp or tc does"
        )
    name = enum_name(ProgType, spec.type)
    if abilities.prog_types is None:
        return _Outcome(Verdict.UNKNOWN, f"the BTF does not say whether the kernel knows type {name}")
    if spec.type in abilities.prog_types:
        return _Outcome(Verdict.HOLDS, name)
    return _Outcome(Verdict.FAILS, f"the kernel does not know type {name}", PROG_TYPES_SINCE.get(spec.type, ""))


def _hook(spec: ProgramSpec, abilities: Abilities) -> _Outcome:
    name = enum_name(AttachType, spec.attach_type or 0)
    if abilities.attach_types is None:
        return _Outcome(Verdict.UNKNOWN, f"the BTF does not say whether the kernel knows hook {name}")
    if spec.attach_type in abilities.attach_types:
        return _Outcome(Verdict.HOLDS, name)
    if spec.type not in _HOOK_IS_CHECKED:
        return _Outcome(Verdict.HOLDS, f"{name}, which the kernel does not know and does not ask for at load")
    since = ATTACH_TYPES_SINCE.get(spec.attach_type or 0, "")
    return _Outcome(Verdict.FAILS, f"the kernel does not know hook {name}", since)


def _frags(prepared: PreparedObject) -> _Outcome:
    if Feature.XDP_FRAGS in prepared.target.doubtful:
        return _Outcome(Verdict.UNKNOWN, "the BTF does not say whether XDP takes frames of several fragments")
    if Feature.XDP_FRAGS in prepared.target.features:
        return _Outcome(Verdict.HOLDS)
    return _Outcome(Verdict.FAILS, "the kernel takes no XDP program for frames of several fragments", XDP_FRAGS_SINCE)


def _code(
    program: PreparedProgram, abilities: Abilities, constants: Mapping[str, bytes]
) -> Iterator[tuple[str, _Outcome]]:
    helpers = called_helpers(program)
    known = abilities.helpers
    lacking = {n: slots for n, slots in helpers.items() if known is not None and (n <= 0 or n not in known)}
    marks = tuple(slot for slot, insn in _calls(program) if _is_mark(insn.imm))
    reach = reachable(program.insns, program.fd_refs, constants) if lacking or marks else Reach((), ())
    if helpers and known is None:
        yield "helpers", _Outcome(Verdict.UNKNOWN, "the BTF does not say which helpers the kernel has")
    elif not lacking:
        yield "helpers", _Outcome(Verdict.HOLDS, f"{len(helpers)} helpers")
    for number, slots in lacking.items():
        verdict, where = _verdict_at(slots, reach)
        yield "helpers", _Outcome(verdict, f"the kernel has no {_helper(number)}, called {where}", _since(number))
    if marks:
        verdict, where = _verdict_at(marks, reach)
        yield "poison", _Outcome(verdict, f"{len(marks)} accesses that the kernel cannot serve, {where}")


def _verdict_at(slots: tuple[int, ...], reach: Reach) -> tuple[Verdict, str]:
    """Return what instructions that must not run make of a program."""
    for slot in slots:
        if slot in reach.certain:
            return Verdict.FAILS, f"at insn #{slot}, which can run"
    for slot in slots:
        if slot in reach.possible:
            return Verdict.UNKNOWN, f"at insn #{slot}: the verifier tells whether it can run"
    return Verdict.HOLDS, "in dead code only"


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


def _limits(program: PreparedProgram) -> _Outcome:
    count = len(program.insns) // INSN_SIZE
    if count > MAX_INSNS:
        return _Outcome(Verdict.FAILS, f"{count} instructions, at most {MAX_INSNS} are taken")
    maps = {ref.map_name for ref in program.fd_refs if isinstance(ref, MapRef | DataRef)}
    if len(maps) > MAX_MAPS:
        return _Outcome(Verdict.FAILS, f"{len(maps)} maps are used, at most {MAX_MAPS} are taken")
    return _Outcome(Verdict.HOLDS, f"{count} instructions, {len(maps)} maps")

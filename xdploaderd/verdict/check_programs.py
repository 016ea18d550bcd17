"""Checks on programs: type, hook, flags, relocations, helpers, sizes (kernel/bpf/syscall.c, bpf_prog_load)."""

from collections.abc import Iterator, Mapping

from xdploaderd.errors import LoaderError, UnknownFactError
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.spec import DataRef, MapRef, PreparedObject, PreparedProgram, ProgramSpec
from xdploaderd.uapi.bpf import AttachType, Feature, ProgFlags, ProgType, enum_name
from xdploaderd.uapi.releases import ATTACH_TYPES_SINCE, PROG_TYPES_SINCE, XDP_FRAGS_SINCE
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.check_calls import Terms, check_calls
from xdploaderd.verdict.model import Check, Outcome, Subject, Verdict

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


def check_programs(
    prepared: PreparedObject, abilities: Abilities, targets: Mapping[str, LoaderError]
) -> Iterator[Check]:
    """Yield the checks on each program that would be loaded; `targets` has the errors of attach targets."""
    constants = {name: spec.contents for name, spec in prepared.maps.items() if spec.freeze and spec.contents}
    terms = Terms(abilities, prepared.target.release, prepared.spec.license, constants)
    for name, spec in prepared.spec.programs.items():
        if not spec.autoload:
            continue
        for check, outcome in _checks(spec, prepared, abilities, targets.get(name), terms):
            yield Check(
                subject=Subject.PROGRAM,
                name=name,
                check=check,
                verdict=outcome.verdict,
                reason=outcome.reason,
                since=outcome.since,
            )


def _checks(
    spec: ProgramSpec,
    prepared: PreparedObject,
    abilities: Abilities,
    target_error: LoaderError | None,
    terms: Terms,
) -> Iterator[tuple[str, Outcome]]:
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
    yield "relocation", Outcome(Verdict.HOLDS, f"{len(program.insns) // INSN_SIZE} instructions")
    yield from check_calls(program, terms)
    yield "limits", _limits(program)


def _of_error(error: LoaderError) -> Outcome:
    verdict = Verdict.UNKNOWN if isinstance(error, UnknownFactError) else Verdict.FAILS
    return Outcome(verdict, ": ".join((*error.place[2:], error.message)))


def _type(spec: ProgramSpec, abilities: Abilities) -> Outcome:
    if spec.type is None:
        return Outcome(
            Verdict.FAILS, f"section '{spec.section}' does not say the type: --type {spec.name}=xdp or tc does"
        )
    name = enum_name(ProgType, spec.type)
    if abilities.prog_types is None:
        return Outcome(Verdict.UNKNOWN, f"the BTF does not say whether the kernel knows type {name}")
    if spec.type in abilities.prog_types:
        return Outcome(Verdict.HOLDS, name)
    return Outcome(Verdict.FAILS, f"the kernel does not know type {name}", PROG_TYPES_SINCE.get(spec.type, ""))


def _hook(spec: ProgramSpec, abilities: Abilities) -> Outcome:
    name = enum_name(AttachType, spec.attach_type or 0)
    if abilities.attach_types is None:
        return Outcome(Verdict.UNKNOWN, f"the BTF does not say whether the kernel knows hook {name}")
    if spec.attach_type in abilities.attach_types:
        return Outcome(Verdict.HOLDS, name)
    if spec.type not in _HOOK_IS_CHECKED:
        return Outcome(Verdict.HOLDS, f"{name}, which the kernel does not know and does not ask for at load")
    since = ATTACH_TYPES_SINCE.get(spec.attach_type or 0, "")
    return Outcome(Verdict.FAILS, f"the kernel does not know hook {name}", since)


def _frags(prepared: PreparedObject) -> Outcome:
    if Feature.XDP_FRAGS in prepared.target.doubtful:
        return Outcome(Verdict.UNKNOWN, "the BTF does not say whether XDP takes frames of several fragments")
    if Feature.XDP_FRAGS in prepared.target.features:
        return Outcome(Verdict.HOLDS)
    return Outcome(Verdict.FAILS, "the kernel takes no XDP program for frames of several fragments", XDP_FRAGS_SINCE)


def _limits(program: PreparedProgram) -> Outcome:
    count = len(program.insns) // INSN_SIZE
    if count > MAX_INSNS:
        return Outcome(Verdict.FAILS, f"{count} instructions, at most {MAX_INSNS} are taken")
    maps = {ref.map_name for ref in program.fd_refs if isinstance(ref, MapRef | DataRef)}
    if len(maps) > MAX_MAPS:
        return Outcome(Verdict.FAILS, f"{len(maps)} maps are used, at most {MAX_MAPS} are taken")
    return Outcome(Verdict.HOLDS, f"{count} instructions, {len(maps)} maps")

"""A report on one object and one kernel: prepared without privilege, checked, and what loading it would take."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from xdploaderd.errors import LoaderError, UnknownFactError
from xdploaderd.obj.attach_target import find_attach_target
from xdploaderd.obj.extern_values import resolve_externs
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import KsymRef, ObjectSpec, PreparedObject, TargetKernel
from xdploaderd.uapi.bpf import Helper, ProgFlags, ProgType
from xdploaderd.uapi.releases import (
    ATTACH_TYPES_SINCE,
    MAP_TYPES_SINCE,
    PROG_TYPES_SINCE,
    XDP_FRAGS_SINCE,
    helper_since,
    parse_release,
)
from xdploaderd.verdict.abilities import Abilities
from xdploaderd.verdict.check_calls import called_helpers
from xdploaderd.verdict.check_externs import check_externs
from xdploaderd.verdict.check_maps import check_maps
from xdploaderd.verdict.check_programs import check_programs
from xdploaderd.verdict.model import Check, Subject, Verdict, overall
from xdploaderd.verdict.privileges import needed_capabilities

NOT_CHECKED = ("verifier",)  # what only loading can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUnderTest:
    """A kernel an object is checked against: how users call it, its facts, and what its BTF says it knows."""

    name: str
    target: TargetKernel
    abilities: Abilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What can be said of one object in one kernel.

    `capabilities` are those that loading takes, each with its first reason; `least_release` is the first Linux that has
    every type, hook and helper used (empty: all that are supported). `prepared` is None when preparation failed.
    """

    object: str
    kernel: str
    checks: tuple[Check, ...]
    capabilities: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    least_release: str = ""
    prepared: PreparedObject | None = None

    @property
    def verdict(self) -> Verdict:
        """What all checks come to."""
        return overall(check.verdict for check in self.checks)


def make_report(obj: ObjectSpec, kernel: KernelUnderTest) -> Report:
    """Return the report; an error of the object becomes a check that fails, none is raised for it."""
    order = _byte_order(obj, kernel.target)
    if order is not None:
        return Report(object=obj.name, kernel=kernel.name, checks=(order,))
    try:
        prepared = prepare(obj, kernel.target, partial=True, lenient=True)
        obj = prepared.spec
        checks = tuple(_checks(obj, kernel, prepared))
    except LoaderError as error:
        return Report(object=obj.name, kernel=kernel.name, checks=(failed_check(obj.name, "preparation", error),))
    helpers = {number for program in prepared.programs.values() for number in called_helpers(program)}
    return Report(
        object=obj.name,
        kernel=kernel.name,
        checks=checks,
        capabilities=needed_capabilities(
            obj, helpers, modules=_uses_modules(prepared), release=parse_release(kernel.target.release)
        ),
        features=tuple(_features(obj, kernel.target)),
        least_release=_latest(_releases(obj, helpers)),
        prepared=prepared,
    )


def failed_check(name: str, check: str, error: LoaderError) -> Check:
    """Return the check that an error on a whole object makes."""
    verdict = Verdict.UNKNOWN if isinstance(error, UnknownFactError) else Verdict.FAILS
    reason = ": ".join((*error.place[1:], error.message))
    return Check(subject=Subject.OBJECT, name=name, check=check, verdict=verdict, reason=reason)


def _checks(obj: ObjectSpec, kernel: KernelUnderTest, prepared: PreparedObject) -> Iterator[Check]:
    yield Check(subject=Subject.OBJECT, name=obj.name, check="form", verdict=Verdict.HOLDS, reason=obj.why)
    if prepared.core_log:
        poisoned = sum(decision.poisoned for decision in prepared.core_log)
        text = f"{len(prepared.core_log)} relocations decided, {poisoned} poisoned"
        yield Check(subject=Subject.OBJECT, name=obj.name, check="CO-RE", verdict=Verdict.HOLDS, reason=text)
    values = resolve_externs(obj, kernel.target, lenient=True)
    yield from check_externs(obj, values, prepared)
    yield from check_maps(prepared, kernel.abilities)
    yield from check_programs(prepared, kernel.abilities, _target_errors(obj, kernel.target))


def _byte_order(obj: ObjectSpec, target: TargetKernel) -> Check | None:
    """Return the check that a byte order fails; None when object, kernel and this machine have the same."""
    kernel = target.btfs[0].byteorder if target.btfs else sys.byteorder
    if obj.byteorder != kernel:
        text, verdict = f"the object is {obj.byteorder}-endian, the kernel {kernel}-endian", Verdict.FAILS
    elif obj.byteorder != sys.byteorder:
        text, verdict = f"both are {kernel}-endian: only such a machine can tell", Verdict.UNKNOWN
    else:
        return None
    return Check(subject=Subject.OBJECT, name=obj.name, check="byte order", verdict=verdict, reason=text)


def _target_errors(obj: ObjectSpec, target: TargetKernel) -> Mapping[str, LoaderError]:
    errors: dict[str, LoaderError] = {}
    for name, program in obj.programs.items():
        try:
            if program.autoload and program.type is ProgType.EXT:
                raise UnknownFactError("it replaces a function of a loaded program, which is not known here")
            if program.autoload:
                find_attach_target(program, target)
        except LoaderError as error:
            errors[name] = error
    return errors


def _uses_modules(prepared: PreparedObject) -> bool:
    return any(
        program.attach_module or any(isinstance(ref, KsymRef) for ref in program.fd_refs)
        for program in prepared.programs.values()
    )


def _features(obj: ObjectSpec, target: TargetKernel) -> Iterator[str]:
    """Yield what has to be there besides capabilities, in words."""
    if obj.btf_ext and any(obj.btf_ext.core_relos.values()):
        yield "kernel BTF (CO-RE)"
    if obj.externs:
        kinds = sorted({str(extern.kind) for extern in obj.externs.values()})
        yield f"externs ({', '.join(kinds)})"
    if any(program.prog_flags & ProgFlags.XDP_HAS_FRAGS for program in obj.programs.values() if program.autoload):
        yield "XDP fragments"
    if any(spec.pinning for spec in obj.maps.values()):
        yield "a BPF file system for pinned maps"
    if target.btfs and target.btfs[0].pointer_size != 8:  # noqa: PLR2004 - bytes
        yield "a 32-bit kernel's own loader: pointers of 4 bytes"


def _releases(obj: ObjectSpec, helpers: Iterable[int]) -> Iterator[str]:
    for spec in obj.maps.values():
        for each in (spec, spec.inner):
            yield MAP_TYPES_SINCE.get(each.type, "") if each else ""
    for program in obj.programs.values():
        if program.autoload:
            yield PROG_TYPES_SINCE.get(program.type or 0, "")
            yield ATTACH_TYPES_SINCE.get(program.attach_type or 0, "")
            yield XDP_FRAGS_SINCE if program.prog_flags & ProgFlags.XDP_HAS_FRAGS else ""
    for number in helpers:
        yield helper_since(Helper(number)) if 0 < number <= max(Helper) else ""


def _latest(releases: Iterable[str]) -> str:
    return max(releases, key=lambda text: parse_release(text) or (0, 0), default="")

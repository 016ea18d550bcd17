"""Apply CO-RE records to the functions they belong to, before linking (libbpf.c, bpf_object__relocate_core).

Subprograms are relocated once, here, and copied relocated into every program that calls them.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial

from xdploaderd.btf.ext import CoreRelo
from xdploaderd.errors import CoreRelocationError, LoaderError, error_context
from xdploaderd.insn import INSN_SIZE, Insns
from xdploaderd.limits import over_limit
from xdploaderd.obj.spec import FunctionSpec, ObjectSpec, TargetKernel
from xdploaderd.printable import quoted
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure
from xdploaderd.relo_core.patch import patch_insn
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver

FunctionKey = tuple[str, int, str]  # section, first slot, name: two sections may have one name


@dataclass(frozen=True, slots=True)
class CoreRelocated:
    """Functions whose instructions changed, those that could not be relocated, and every decision and failure."""

    insns: Mapping[FunctionKey, Insns] = field(default_factory=dict)
    errors: Mapping[FunctionKey, LoaderError] = field(default_factory=dict)
    decisions: tuple[CoreDecision, ...] = ()
    failures: tuple[CoreFailure, ...] = ()

    def function(self, function: FunctionSpec) -> FunctionSpec:
        """Return the function with its relocated instructions."""
        insns = self.insns.get(_key(function))
        return function if insns is None else function._replace(insns=insns)

    def check(self, function: FunctionSpec) -> None:
        """Raise the error that kept the function from being relocated."""
        if _key(function) in self.errors:
            raise copy(self.errors[_key(function)])  # each raising adds its own places


def relocate_core(
    obj: ObjectSpec, target: TargetKernel, *, locate: Callable[[FunctionSpec, int], str]
) -> CoreRelocated:
    """Decide and write every record of the programs with autoload on and of all subprograms.

    A function's first error is kept for the programs that need it. CoreRelocationError for an offset that is none of an
    instruction.
    """
    if obj.btf is None or obj.btf_ext is None:
        return CoreRelocated()
    count = sum(map(len, obj.btf_ext.core_relos.values()))
    if count > obj.limits.core_records:
        raise over_limit(obj.limits, "core_records", f"object with {count} CO-RE records", "applied")
    run = _Run(obj, CoreResolver(obj.btf, target.btfs), locate)
    for section, records in obj.btf_ext.core_relos.items():
        functions = run.functions_of(section)
        for number, relo in enumerate(records):
            with error_context(f"section {quoted(section)}"):
                function = _function_at(functions, relo, number)
            # Code of an overridden weak function belongs to none; libbpf skips its records, too.
            if function is not None:
                run.apply(function, relo, CorePlace(function.name, section, number, _slot(function, relo)))
    patched = {key: bytes(insns) for key, insns in run.insns.items()}
    return CoreRelocated(patched, run.errors, tuple(run.decisions), tuple(run.failures))


class _Run:
    """The functions as they are patched."""

    def __init__(self, obj: ObjectSpec, resolver: CoreResolver, locate: Callable[[FunctionSpec, int], str]) -> None:
        self.insns: dict[FunctionKey, bytearray] = {}
        self.errors: dict[FunctionKey, LoaderError] = {}
        self.decisions: list[CoreDecision] = []
        self.failures: list[CoreFailure] = []
        self._resolver = resolver
        self._locate = locate
        entries = [program.function for program in obj.programs.values() if program.autoload]
        self._functions: dict[str, list[FunctionSpec]] = {}
        for function in sorted((*entries, *obj.subprograms.values()), key=lambda function: function.insn_off):
            self._functions.setdefault(function.section, []).append(function)

    def functions_of(self, section: str) -> Sequence[FunctionSpec]:
        """Return the functions of a section by their first slot."""
        return self._functions.get(section, ())

    def apply(self, function: FunctionSpec, relo: CoreRelo, at: CorePlace) -> None:
        """Decide one record and write it into its instruction."""
        key = _key(function)
        insns = self.insns.setdefault(key, bytearray(function.insns))
        try:
            with error_context(partial(self._locate, function, at.insn_idx)):
                self._decide(insns, relo, at)
        except LoaderError as error:
            self.errors.setdefault(key, error)

    def _decide(self, insns: bytearray, relo: CoreRelo, at: CorePlace) -> None:
        try:
            self.decisions.append(patch_insn(insns, self._resolver.resolve(relo, at)))
        except LoaderError as error:
            self.failures.append(self._resolver.failure(relo, at, error))
            raise


def _slot(function: FunctionSpec, relo: CoreRelo) -> int:
    return relo.insn_off // INSN_SIZE - function.insn_off


def _function_at(functions: Sequence[FunctionSpec], relo: CoreRelo, number: int) -> FunctionSpec | None:
    if relo.insn_off % INSN_SIZE:
        raise CoreRelocationError(f"CO-RE relo #{number}: byte {relo.insn_off} is not the start of an instruction")
    slot = relo.insn_off // INSN_SIZE
    at = bisect_right(functions, slot, key=lambda function: function.insn_off) - 1
    if at < 0 or slot >= functions[at].insn_off + len(functions[at].insns) // INSN_SIZE:
        return None
    return functions[at]


def _key(function: FunctionSpec) -> FunctionKey:
    return function.section, function.insn_off, function.name

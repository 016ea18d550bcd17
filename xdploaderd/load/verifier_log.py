"""Say what a verifier's log means where it speaks of our own marks (libbpf fixup_verifier_log).

A CO-RE relocation or kfunc that is missing is no error while its code is dead: preparation puts a call of a helper
that cannot exist in its place, and only when the verifier reaches it is there anything to tell.
"""

import re
from collections.abc import Sequence

from xdploaderd.errors import KernelError, VerifierError
from xdploaderd.kernel.verifier_log import source_line
from xdploaderd.obj.references import POISON_KFUNC_BASE, POISON_MAP_BASE, POISONS_MAX
from xdploaderd.obj.spec import PreparedObject, PreparedProgram
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.patch import POISON_IMM

_UNKNOWN_FUNC = re.compile(r"invalid func unknown#(\d+)")
_CALL = re.compile(r"^(\d+): \(85\) call unknown#(\d+)")


def explain(error: KernelError, prepared: PreparedObject, prog: PreparedProgram) -> KernelError:
    """Return the error, or one that names the relocation or kfunc behind a call of an impossible helper."""
    if not isinstance(error, VerifierError):
        return error
    found = next((m for line in reversed(error.log) if (m := _UNKNOWN_FUNC.search(line))), None)
    if found is None:
        return error
    call = next((m for line in reversed(error.log) if (m := _CALL.match(line)) and m[2] == found[1]), None)
    insn_idx = int(call[1]) if call else -1
    what = _behind(int(found[1]), insn_idx, prepared, prog)
    if not what:
        return error
    place = f"insn #{insn_idx}" if call else "an instruction"
    source = source_line(error.log)
    if source:
        place = f"{place} ({source})"
    return VerifierError(f"{place} can be reached, but {what}", errno=error.errno, log=error.log)


def _behind(number: int, insn_idx: int, prepared: PreparedObject, prog: PreparedProgram) -> str:
    if number == POISON_IMM:
        return f"{_relocation_at(insn_idx, prepared.core_log, prog)} has no match in this kernel"
    if POISON_KFUNC_BASE <= number < POISON_KFUNC_BASE + POISONS_MAX:
        externs = tuple(prepared.spec.externs)
        index = number - POISON_KFUNC_BASE
        name = f"'{externs[index]}'" if index < len(externs) else f"of extern #{index}"
        return f"kfunc {name} does not exist in this kernel"
    if POISON_MAP_BASE <= number < POISON_MAP_BASE + POISONS_MAX:
        maps = tuple(prepared.spec.maps)
        index = number - POISON_MAP_BASE
        name = f"'{maps[index]}'" if index < len(maps) else f"#{index}"
        return f"map {name} is left out"
    return ""


def _relocation_at(insn_idx: int, core_log: Sequence[CoreDecision], prog: PreparedProgram) -> str:
    """Name the poisoned relocation of an instruction; those of subprograms count from their own start."""
    own = next(
        (d for d in core_log if d.poisoned and d.program == prog.spec.name and d.insn_idx == insn_idx),
        None,
    )
    return f"its CO-RE relocation {own.kind.name.lower()} {own.local.text}" if own else "its CO-RE relocation"

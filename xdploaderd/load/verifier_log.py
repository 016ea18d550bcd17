"""Say what a verifier's log means where it speaks of our own marks (libbpf fixup_verifier_log).

A CO-RE relocation, map or kfunc that is missing is no error while its code is dead: preparation puts a call of a helper
that cannot exist in its place, and only when the verifier reaches it is there anything to tell.
"""

import re

from xdploaderd.errors import KernelError, VerifierError
from xdploaderd.obj.spec import ObjectSpec

POISON_CORE = 195896080  # 0xbad2310
POISON_MAP = 2001000000
POISON_KFUNC = 2002000000
_POISON_RANGE = 1_000_000

_UNKNOWN_FUNC = re.compile(r"invalid func unknown#(\d+)")
_CALL = re.compile(r"^(\d+): \(85\) call unknown#(\d+)")


def explain(error: KernelError, obj: ObjectSpec) -> KernelError:
    """Return the error, or one that names the relocation, map or kfunc behind a call of an impossible helper."""
    if not isinstance(error, VerifierError):
        return error
    found = next((m for line in reversed(error.log) if (m := _UNKNOWN_FUNC.search(line))), None)
    if found is None or not (what := _poison_reason(int(found[1]), obj)):
        return error
    place = next((m[1] for line in reversed(error.log) if (m := _CALL.match(line)) and m[2] == found[1]), "?")
    return VerifierError(f"insn #{place} is reached, though {what}", errno=error.errno, log=error.log)


def _poison_reason(number: int, obj: ObjectSpec) -> str:
    if number == POISON_CORE:
        return "its CO-RE relocation has no match in this kernel"
    if POISON_MAP <= number < POISON_MAP + _POISON_RANGE:
        return f"{_nth('map', tuple(obj.maps), number - POISON_MAP)} was not created"
    if POISON_KFUNC <= number < POISON_KFUNC + _POISON_RANGE:
        return f"{_nth('kfunc', tuple(obj.externs), number - POISON_KFUNC)} does not exist in this kernel"
    return ""


def _nth(kind: str, names: tuple[str, ...], index: int) -> str:
    return f"{kind} '{names[index]}'" if index < len(names) else f"{kind} #{index}"

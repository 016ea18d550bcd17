"""Checks on externs: each has a value, or cannot have one, or its file is not at hand."""

from collections.abc import Iterator

from xdploaderd.errors import UnknownFactError
from xdploaderd.obj.extern_values import ExternValues, KconfigValue
from xdploaderd.obj.ksyms import Address, KernelType
from xdploaderd.obj.spec import KCONFIG_MAP, ExternKind, ExternRef, ExternSpec, ObjectSpec, PreparedObject
from xdploaderd.verdict.model import Check, Subject, Verdict


def check_externs(obj: ObjectSpec, values: ExternValues, prepared: PreparedObject) -> Iterator[Check]:
    """Yield one check for each extern; one that no program to be loaded can come to does no harm by its absence."""
    used = _used(obj)
    contents = next((spec.contents for spec in prepared.maps.values() if spec.section == KCONFIG_MAP), None)
    for name, extern in obj.externs.items():
        verdict, reason = _outcome(extern, values, contents or b"")
        if verdict is Verdict.FAILS and name not in used:
            verdict, reason = Verdict.HOLDS, f"{reason}; no program that is loaded refers to it"
        if verdict is Verdict.UNKNOWN and prepared.target.custom_btf:  # no file of this machine has anything to say
            reason = f"not told by the kernel's BTF, want {_option(extern)}"
        yield Check(subject=Subject.EXTERN, name=name, check="value", verdict=verdict, reason=reason)


def _option(extern: ExternSpec) -> str:
    """Return the option of `prepare` that settles an extern of a kernel elsewhere."""
    match extern.kind:
        case ExternKind.KCONFIG if extern.name == "LINUX_KERNEL_VERSION":
            return "--release"
        case ExternKind.KCONFIG:
            return "--kconfig"
        case ExternKind.KSYM_TYPELESS:
            return "--kallsyms"
    return "--module-btf"


def _used(obj: ObjectSpec) -> frozenset[str]:
    """Return the externs that programs with autoload on refer to, or any subprogram does."""
    programs = [program.function for program in obj.programs.values() if program.autoload]
    functions = (*programs, *obj.subprograms.values())
    return frozenset(ref.symbol for function in functions for ref in function.relocs if isinstance(ref, ExternRef))


def _outcome(extern: ExternSpec, values: ExternValues, kconfig: bytes) -> tuple[Verdict, str]:
    error = values.unknown.get(extern.name) or values.errors.get(extern.name)
    if error is not None:
        return (Verdict.UNKNOWN if isinstance(error, UnknownFactError) else Verdict.FAILS), error.message
    match values.values.get(extern.name):
        case KconfigValue(offset=offset):
            return Verdict.HOLDS, f"0x{kconfig[offset : offset + extern.size][::-1].hex() or '0'}"
        case KernelType(type_id=type_id, module=module):
            return Verdict.HOLDS, f"type [{type_id}] of {module or 'the kernel'}"
        case Address(value=address):
            return Verdict.HOLDS, f"address {address:#x}" if address else "weak, the kernel has none: zero"
    return Verdict.HOLDS, "weak, the kernel has none"

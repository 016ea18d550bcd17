"""Kernel symbols: kfuncs and variables by BTF, addresses by kallsyms (libbpf.c, bpf_object__resolve_ksym*)."""

from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.types import BtfKind, Func, Var
from xdploaderd.errors import RelocationError, error_context
from xdploaderd.obj.spec import ExternKind, ExternSpec, TargetKernel
from xdploaderd.relo_core.compat import types_are_compatible

_LLVM_SUFFIX = ".llvm."  # of static data that link-time optimisation made global (kallsyms type 'd')


@dataclass(frozen=True, slots=True)
class KernelType:
    """A kernel function or variable: id of its FUNC or VAR, in a module's BTF when `module` is not empty."""

    type_id: int
    module: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a kernel symbol; 0 for a weak extern that the kernel has not."""

    value: int


Resolved = KernelType | Address | None  # None: a weak extern by type that the kernel has not


def resolve_ksym(extern: ExternSpec, local: Btf | None, target: TargetKernel) -> Resolved:
    """Return what the extern stands for in the target; RelocationError naming it when a strong one is missing."""
    with error_context(f"extern '{extern.name}'"):
        if extern.kind is ExternKind.KSYM_TYPELESS:
            return Address(_address_of(extern, target))
        if local is None:
            raise RelocationError("has a type, but the object has no BTF")
        if extern.kind is ExternKind.KFUNC:
            return _resolve_kfunc(extern, local, target)
        return _resolve_variable(extern, local, target)


def _resolve_kfunc(extern: ExternSpec, local: Btf, target: TargetKernel) -> KernelType | None:
    name = essential_name(extern.name)
    found = _find(name, BtfKind.FUNC, target)
    if found is None:
        _refuse_if_strong(extern, f"function '{name}'")
        return None
    kernel, type_id = found
    ours, theirs = local.type_by_id(extern.type_id), kernel.type_by_id(type_id)
    proto = ours.type_id if isinstance(ours, Func) else extern.type_id
    if isinstance(theirs, Func) and types_are_compatible(local, proto, kernel, theirs.type_id):
        return _kernel_type(found, target)
    if extern.weak:
        return None
    raise RelocationError(f"prototype differs from that of function '{name}' in BTF '{kernel.name}'")


def _resolve_variable(extern: ExternSpec, local: Btf, target: TargetKernel) -> KernelType | None:
    found = _find(extern.name, BtfKind.VAR, target)
    if found is None:
        _refuse_if_strong(extern, f"variable '{extern.name}'")
        return None
    kernel, type_id = found
    ours, theirs = local.type_by_id(extern.type_id), kernel.type_by_id(type_id)
    local_id = ours.type_id if isinstance(ours, Var) else extern.type_id
    if isinstance(theirs, Var) and types_are_compatible(local, local_id, kernel, theirs.type_id):
        return _kernel_type(found, target)
    raise RelocationError(f"type differs from that of variable '{extern.name}' in BTF '{kernel.name}'")


def _find(name: str, kind: BtfKind, target: TargetKernel) -> tuple[Btf, int] | None:
    for btf in target.btfs:
        ids = btf.ids_by_name(name, {kind})
        if ids:
            return btf, ids[0]
    return None


def _kernel_type(found: tuple[Btf, int], target: TargetKernel) -> KernelType:
    btf, type_id = found
    return KernelType(type_id, "" if btf is target.btfs[0] else btf.name)


def _refuse_if_strong(extern: ExternSpec, what: str) -> None:
    if not extern.weak:
        raise RelocationError(f"kernel has no {what} in its BTF, want it or a weak extern")


def _address_of(extern: ExternSpec, target: TargetKernel) -> int:
    if target.kallsyms is None:
        raise RelocationError("kernel symbols cannot be read, want /proc/kallsyms")
    addresses = _addresses(extern.name, target.kallsyms)
    if len(addresses) > 1:
        listed = ", ".join(f"{address:#x}" for address in sorted(addresses))
        raise RelocationError(f"names several kernel symbols, at {listed}")
    if not addresses and not extern.weak:
        raise RelocationError("kernel has no such symbol, want it or a weak extern")
    return next(iter(addresses), 0)


def _addresses(name: str, kallsyms: str) -> frozenset[int]:
    """Return every address of the name; a search for the text is a hundred times faster than splitting the lines."""
    found: set[int] = set()
    at = -1
    while (at := kallsyms.find(f" {name}", at + 1)) >= 0:
        start = kallsyms.rfind("\n", 0, at) + 1
        end = kallsyms.find("\n", at)
        address, kind, symbol, *_ = (*kallsyms[start : end if end >= 0 else None].split(), "", "", "")
        if symbol == name or (kind == "d" and symbol.partition(_LLVM_SUFFIX)[0] == name):
            found.add(_parse_address(address))
    return frozenset(found)


def _parse_address(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise RelocationError(f"kernel symbol list has the address '{text}', want hexadecimal digits") from None

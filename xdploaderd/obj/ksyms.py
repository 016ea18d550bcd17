"""Kernel symbols: kfuncs and variables by BTF, addresses by kallsyms (libbpf.c, bpf_object__resolve_ksym*)."""

from collections.abc import Mapping
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.types import BtfKind, Func, Var
from xdploaderd.errors import RelocationError, UnknownFactError, error_context
from xdploaderd.obj.spec import ExternKind, ExternSpec, TargetKernel
from xdploaderd.relo_core.compat import types_are_compatible


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


def resolve_ksym(
    extern: ExternSpec, local: Btf | None, target: TargetKernel, addresses: Mapping[str, frozenset[int]] | None
) -> Resolved:
    """Return what the extern stands for in the target; RelocationError naming it when a strong one is missing.

    `addresses` has those of typeless externs (kallsyms.find_addresses), None when they cannot be known.
    """
    with error_context(f"extern '{extern.name}'"):
        if extern.kind is ExternKind.KSYM_TYPELESS:
            return Address(_address_of(extern, addresses))
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
    if isinstance(theirs, Var):  # const and the like are no part of what is compared
        ids = local.skip_mods_and_typedefs(local_id), kernel.skip_mods_and_typedefs(theirs.type_id)
        if types_are_compatible(local, ids[0], kernel, ids[1]):
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


def _address_of(extern: ExternSpec, addresses: Mapping[str, frozenset[int]] | None) -> int:
    if addresses is None:
        raise UnknownFactError("kernel symbols cannot be read, want /proc/kallsyms")
    found = addresses.get(extern.name, frozenset())
    if len(found) > 1:
        raise RelocationError(f"names several kernel symbols, at {', '.join(f'{at:#x}' for at in sorted(found))}")
    if not found and not extern.weak:
        raise RelocationError("kernel has no such symbol, want it or a weak extern")
    return next(iter(found), 0)

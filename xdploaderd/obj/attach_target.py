"""The kernel function or type that a tracing program is loaded for (libbpf.c, libbpf_find_attach_btf_id)."""

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind
from xdploaderd.errors import ObjectError, RelocationError
from xdploaderd.obj.ksyms import KernelType
from xdploaderd.obj.spec import ProgramSpec, TargetKernel
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import AttachType, ProgType

WITH_TARGET = frozenset({ProgType.TRACING, ProgType.LSM})
_PREFIXES = {
    AttachType.TRACE_RAW_TP: ("btf_trace_", BtfKind.TYPEDEF),
    AttachType.LSM_MAC: ("bpf_lsm_", BtfKind.FUNC),
    AttachType.LSM_CGROUP: ("bpf_lsm_", BtfKind.FUNC),
    AttachType.TRACE_ITER: ("bpf_iter_", BtfKind.FUNC),
}


def find_attach_target(program: ProgramSpec, target: TargetKernel) -> KernelType | None:
    """Return the BTF id PROG_LOAD needs; None for types that need none.

    RelocationError when the kernel, or the loaded program that the user named, has it not; ObjectError when nothing
    says what the program is for.
    """
    if program.name in target.program_btfs:
        return _find_in_program(program, target.program_btfs[program.name])
    if program.type is ProgType.EXT:
        raise ObjectError("replaces a function of another loaded program: which one? name its pin by --attach-target")
    if program.type not in WITH_TARGET:
        return None
    if not program.attach_target:
        raise ObjectError(f"section {quoted(program.function.section)} names no kernel function to attach to")
    module, _, wanted = program.attach_target.rpartition(":")
    attach_type = program.attach_type
    prefix, kind = _PREFIXES.get(attach_type, ("", BtfKind.FUNC)) if attach_type else ("", BtfKind.FUNC)
    name = prefix + wanted
    for number, btf in enumerate(target.btfs):
        if module and btf.name != module:
            continue
        for type_id in btf.ids_by_name(name, {kind})[:1]:
            return KernelType(type_id, btf.name if number else "")
    where = f"module {quoted(module)}" if module else "kernel"
    raise RelocationError(
        f"{where} has no {kind.name.lower()} {quoted(name)} in its BTF, which the program attaches to"
    )


def _find_in_program(program: ProgramSpec, btf: Btf) -> KernelType:
    if program.type not in {*WITH_TARGET, ProgType.EXT}:
        raise ObjectError("attaches to no function of another program, as only freplace, fentry and their like do")
    if not program.attach_target:
        raise ObjectError("which function of the other program? neither its section nor --attach-target says it")
    for type_id in btf.ids_by_name(program.attach_target, {BtfKind.FUNC})[:1]:
        return KernelType(type_id)
    raise RelocationError(f"the other program has no function {quoted(program.attach_target)} in its BTF")

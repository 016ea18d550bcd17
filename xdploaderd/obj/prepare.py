"""Prepare: relocate an ObjectSpec for a kernel that need not be the running one (libbpf.c, bpf_object_prepare).

Pure: no privilege, no bpf(2) call. What is left for load is to put descriptors where `fd_refs` say.
"""

import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from xdploaderd.btf.ext import BtfExt, CoreReloKind
from xdploaderd.errors import LoaderError, ObjectError, error_context
from xdploaderd.insn import INSN_SIZE
from xdploaderd.limits import over_limit
from xdploaderd.obj.arg_ctx import has_ctx_tags, with_contexts
from xdploaderd.obj.attach_target import WITH_TARGET, find_attach_target
from xdploaderd.obj.callbacks import exception_callbacks
from xdploaderd.obj.extern_values import ExternValues, resolve_externs
from xdploaderd.obj.fixup import kernel_btf
from xdploaderd.obj.info_records import describe_insn, linked_func_info, linked_line_info, sorted_records
from xdploaderd.obj.kconfig import CONFIG_PREFIX, FEATURE_PREFIX
from xdploaderd.obj.ksyms import KernelType
from xdploaderd.obj.link import LinkedProgram, link_program
from xdploaderd.obj.references import write_references
from xdploaderd.obj.relocate_core import CoreRelocated, relocate_core
from xdploaderd.obj.spec import (
    KCONFIG_MAP,
    Dialect,
    ExternKind,
    ExternRef,
    FunctionSpec,
    MapSpec,
    Need,
    ObjectSpec,
    PreparedObject,
    PreparedProgram,
    ProgramSpec,
    TargetKernel,
)
from xdploaderd.obj.struct_ops import is_struct_ops, with_wanted_programs
from xdploaderd.obj.struct_ops_kernel import StructOps, settle_struct_ops
from xdploaderd.obj.target_maps import check_sizes, settle_map
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import Feature, ProgType

KERNEL_TYPE_NEEDS = frozenset({Need.VMLINUX_BTF, Need.MODULE_BTF})
_EXTERN_NEEDS = {
    ExternKind.KSYM_TYPED: KERNEL_TYPE_NEEDS,
    ExternKind.KFUNC: KERNEL_TYPE_NEEDS,
    ExternKind.KSYM_TYPELESS: frozenset({Need.KALLSYMS}),
}


def target_needs(obj: ObjectSpec) -> frozenset[Need]:
    """Return the facts of the target that prepare() will use for this object, so that no others need be read.

    ObjectError for one of the other byte order, of which no fact of this machine is of use.
    """
    with error_context(f"object {quoted(obj.name)}"):
        _check_byteorder(obj)
    needs: set[Need] = set()
    for extern in obj.externs.values():
        needs |= _EXTERN_NEEDS.get(extern.kind, frozenset())
        if extern.kind is ExternKind.KCONFIG and extern.name.startswith(CONFIG_PREFIX):
            needs.add(Need.KCONFIG)
        if extern.kind is ExternKind.KCONFIG and extern.name.startswith(FEATURE_PREFIX):
            needs.add(Need.TRACING_FEATURES)
    if has_ctx_tags(obj.btf):
        needs.add(Need.ARG_CTX_TAG)
    relos = obj.btf_ext.core_relos.values() if obj.btf_ext else ()
    if any(relo.kind != CoreReloKind.TYPE_ID_LOCAL for section in relos for relo in section):
        needs |= KERNEL_TYPE_NEEDS
    if any(is_struct_ops(spec) and spec.autocreate for spec in obj.maps.values()):
        needs |= KERNEL_TYPE_NEEDS
    if any(program.type in WITH_TARGET for program in obj.programs.values() if program.autoload):
        needs |= KERNEL_TYPE_NEEDS
    return frozenset(needs)


def prepare(
    obj: ObjectSpec, target: TargetKernel, *, partial: bool = False, lenient: bool = False, whole: bool = False
) -> PreparedObject:
    """Return the object's programs with autoload on, its maps and its BTF as they are to be given to `target`.

    The first program that cannot be prepared raises; with `partial` it is named in `failed` and the rest is prepared.
    With `lenient`, externs whose value the target's missing files keep unknown are zero: nothing to be loaded.
    With `whole`, a strong extern that the target has not is an error even where no program to be loaded refers to it,
    as it is to libbpf.
    RelocationError, CoreRelocationError, BtfError or ObjectError name object, program, instruction and source line.
    """
    with error_context(f"object {quoted(obj.name)}"):
        _check_byteorder(obj)
        obj = with_wanted_programs(obj)
        context = _make_context(obj, target, lenient=lenient)
        btf = kernel_btf(obj, target.features)
        maps, failed_maps = _prepare_maps(context, with_btf=btf is not None, partial=partial)
        programs, failed = _prepare_programs(context, partial=partial)
        if whole and context.externs.errors:
            raise next(iter(context.externs.errors.values()))
        if btf is not None and obj.btf is not None and _lacks_ctx_tags(obj, target):
            tags = Feature.BTF_DECL_TAG in target.features
            btf, programs = with_contexts(obj.btf, programs, btf, tags=tags)
    kconfig_warnings = context.externs.kconfig.warnings if context.externs.kconfig else ()
    return PreparedObject(
        spec=obj,
        target=target,
        maps=maps,
        programs=programs,
        btf=btf,
        core_log=context.core.decisions,
        core_failures=context.core.failures,
        failed={**failed_maps, **failed},
        warnings=(*obj.warnings, *kconfig_warnings, *_info_warnings(context, programs)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the programs of an object have in common."""

    obj: ObjectSpec
    target: TargetKernel
    records: BtfExt | None
    externs: ExternValues
    core: CoreRelocated
    subprograms: Mapping[int, FunctionSpec]
    callbacks: Mapping[str, FunctionSpec]
    absent_maps: Mapping[str, int]
    struct_ops: StructOps

    def describe(self, function: FunctionSpec, insn_idx: int) -> str:
        return describe_insn(self.obj.btf, self.records, function, insn_idx)


def _lacks_ctx_tags(obj: ObjectSpec, target: TargetKernel) -> bool:
    return has_ctx_tags(obj.btf) and Feature.ARG_CTX_TAG not in target.features


def _make_context(obj: ObjectSpec, target: TargetKernel, *, lenient: bool) -> _Context:
    records = sorted_records(obj.btf_ext) if obj.btf_ext else None
    core = relocate_core(obj, target, locate=lambda at, slot: describe_insn(obj.btf, records, at, slot))
    subprograms = {start: core.function(function) for start, function in obj.subprograms.items()}
    return _Context(
        obj=obj,
        target=target,
        records=records,
        externs=resolve_externs(obj, target, lenient=lenient),
        core=core,
        subprograms=subprograms,
        callbacks=exception_callbacks(obj.btf, subprograms),
        absent_maps={name: number for number, (name, spec) in enumerate(obj.maps.items()) if not spec.autocreate},
        struct_ops=settle_struct_ops(obj, target),
    )


def _prepare_programs(
    context: _Context, *, partial: bool
) -> tuple[Mapping[str, PreparedProgram], Mapping[str, LoaderError]]:
    programs: dict[str, PreparedProgram] = {}
    failed: dict[str, LoaderError] = {}
    room = context.obj.limits.linked_instructions
    for name, program in context.obj.programs.items():
        if not program.autoload:
            continue
        try:
            with error_context(f"prog {quoted(name)}"):
                programs[name] = _prepare_program(context, program)
        except LoaderError as error:
            if not partial:
                raise
            failed[name] = error
            continue
        room -= len(programs[name].insns) // INSN_SIZE
        if room < 0:
            raise over_limit(
                context.obj.limits, "linked_instructions", "programs have too many instructions when linked", "taken"
            )
    return programs, failed


def _prepare_program(context: _Context, program: ProgramSpec) -> PreparedProgram:
    linked = link_program(
        context.core.function(program.function),
        context.subprograms,
        locate=context.describe,
        callback=context.callbacks.get(program.name),
        by_address=context.obj.dialect is Dialect.LEGACY,
    )
    for placement in linked.placements:
        context.core.check(placement.function)
    insns, fd_refs = write_references(
        linked, context.externs, context.absent_maps, locate=_locate_in(linked, context.describe)
    )
    attach = _attachment(program, context)
    func_info, line_info = _linked_info(context, linked)
    return PreparedProgram(
        spec=program,
        insns=insns,
        fd_refs=fd_refs,
        func_info=func_info,
        line_info=line_info,
        operation=attach.operation,
        attach_btf_id=attach.kernel_type.type_id,
        attach_module=attach.kernel_type.module,
        externs=tuple(reloc for reloc in linked.relocs if isinstance(reloc, ExternRef)),
    )


@dataclass(frozen=True, slots=True)
class _Attachment:
    """What PROG_LOAD is told of where the program will run."""

    operation: int | None
    kernel_type: KernelType


def _attachment(program: ProgramSpec, context: _Context) -> _Attachment:
    if program.type is ProgType.STRUCT_OPS:
        operation = context.struct_ops.operations.get(program.name)
        if operation is None:
            raise ObjectError("no struct_ops map that is created holds it")
        return _Attachment(operation.index, operation.type)
    kernel_type = find_attach_target(program, context.target)
    return _Attachment(None, kernel_type or KernelType(0))


def _linked_info(context: _Context, linked: LinkedProgram) -> tuple[bytes, bytes]:
    if context.records is None or not {Feature.BTF, Feature.BTF_FUNC} <= context.target.features:
        return b"", b""
    return linked_func_info(context.records, linked.placements), linked_line_info(context.records, linked.placements)


def _locate_in(linked: LinkedProgram, describe: Callable[[FunctionSpec, int], str]) -> Callable[[int], str]:
    starts = [placement.position for placement in linked.placements]

    def locate(slot: int) -> str:
        placement = linked.placements[bisect_right(starts, slot) - 1]
        return describe(placement.function, slot - placement.position)

    return locate


def _prepare_maps(
    context: _Context, *, with_btf: bool, partial: bool
) -> tuple[Mapping[str, MapSpec], Mapping[str, LoaderError]]:
    """Return the maps to be created; those of the kernel's structures that it has not are errors."""
    failed = context.struct_ops.errors
    if failed and not partial:
        raise next(iter(failed.values()))
    wanted = (spec for spec in context.obj.maps.values() if spec.autocreate and spec.name not in failed)
    maps = {spec.name: _prepare_map(spec, context, with_btf=with_btf) for spec in wanted}
    check_sizes(maps.values(), context.target, context.obj.limits)
    return maps, failed


def _prepare_map(spec: MapSpec, context: _Context, *, with_btf: bool) -> MapSpec:
    if is_struct_ops(spec):
        return context.struct_ops.maps[spec.name]
    settled = settle_map(spec, context.target, with_btf=with_btf)
    if spec.section == KCONFIG_MAP and context.externs.kconfig:
        return replace(settled, contents=context.externs.kconfig.contents)
    return settled


def _info_warnings(context: _Context, programs: Mapping[str, PreparedProgram]) -> tuple[str, ...]:
    if context.records is None or Feature.BTF_FUNC not in context.target.features:
        return ()
    return tuple(
        f"prog {quoted(name)} has no function info" for name, program in programs.items() if not program.func_info
    )


def _check_byteorder(obj: ObjectSpec) -> None:
    if obj.byteorder != sys.byteorder:
        raise ObjectError(f"object is {obj.byteorder}-endian, want {sys.byteorder}-endian as this machine is")

"""From ObjectSpec to PreparedObject: references, records, partial failures."""

import struct
import sys
from dataclasses import replace

import pytest

from tests.builders.spec import (
    EXIT_INSN,
    NOP,
    btf_of,
    call,
    data_map,
    function,
    load64,
    object_spec,
    program,
    target_kernel,
)
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt, CoreRelo, CoreReloKind, FuncInfo, LineInfo
from xdploaderd.btf.types import BtfKind, Composite, Func, FuncProto, Int, Linkage, Member, Ref
from xdploaderd.errors import CoreRelocationError, LimitError, ObjectError, RelocationError
from xdploaderd.insn import Insn, decode_insn, iter_insns
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.spec import (
    CallRef,
    DataRef,
    ExternKind,
    ExternRef,
    ExternSpec,
    MapRef,
    Need,
    ObjectSpec,
    PreparedProgram,
    TargetKernel,
)
from xdploaderd.uapi.bpf import AttachType, Feature, MapType, ProgType, PseudoSrc

KERNEL = target_kernel()
INT = Int("int", 4, 1, 0, 32)


def prepare_one(obj: ObjectSpec, target: TargetKernel = KERNEL) -> tuple[PreparedProgram, list[Insn]]:
    prepared = prepare(obj, target)
    (only,) = prepared.programs.values()
    return only, list(iter_insns(only.insns, sys.byteorder))


def extern(name: str, kind: ExternKind, *, weak: bool = False, type_id: int = 0) -> ExternSpec:
    return ExternSpec(name=name, kind=kind, type_id=type_id, weak=weak)


def test_map_reference_gets_pseudo_register_and_no_descriptor() -> None:
    found, insns = prepare_one(object_spec(program("p", [*load64(imm=7), EXIT_INSN], [MapRef(0, "m")])))
    assert (insns[0].src_reg, insns[0].imm, insns[1].imm) == (PseudoSrc.MAP_FD, 0, 0)
    assert found.fd_refs == (MapRef(0, "m"),)


def test_data_reference_gets_offset_in_second_slot() -> None:
    found, insns = prepare_one(object_spec(program("p", [*load64(imm=7), EXIT_INSN], [DataRef(0, ".data", 24)])))
    assert (insns[0].src_reg, insns[0].imm, insns[1].imm) == (PseudoSrc.MAP_VALUE, 0, 24)
    assert found.fd_refs == (DataRef(0, ".data", 24),)


def test_references_of_subprograms_are_counted_in_the_program() -> None:
    sub = function("sub", [NOP, *load64(), EXIT_INSN], [DataRef(1, ".data", 8)])
    found, insns = prepare_one(
        object_spec(program("p", [call(), EXIT_INSN], [CallRef(0, 0)]), subprograms=[sub]),
    )
    assert found.fd_refs == (DataRef(3, ".data", 8),)
    assert insns[4].imm == 8


def test_reference_of_an_instruction_that_loads_nothing_is_refused() -> None:
    obj = object_spec(program("p", [NOP, NOP, EXIT_INSN], [MapRef(0, "m")]))
    with pytest.raises(RelocationError, match=r"object 'fw': prog 'p': insn #0 of 'p': code is 0xb7"):
        prepare(obj, KERNEL)


def test_load_cut_by_the_end_of_the_program_is_refused() -> None:
    with pytest.raises(RelocationError, match="does not end inside the program"):
        prepare(object_spec(program("p", [NOP, load64()[0]], [MapRef(1, "m")])), KERNEL)


def test_only_programs_with_autoload_are_prepared() -> None:
    on, off = program("on", [EXIT_INSN]), program("off", [EXIT_INSN])
    prepared = prepare(object_spec(on, replace(off, autoload=False)), KERNEL)
    assert list(prepared.programs) == ["on"]


def test_object_of_the_other_byte_order_is_refused() -> None:
    other = "big" if sys.byteorder == "little" else "little"
    with pytest.raises(ObjectError, match=f"object is {other}-endian"):
        prepare(replace(object_spec(), byteorder=other), KERNEL)


def test_records_of_linked_functions_move_with_the_code() -> None:
    ext = BtfExt(
        {"xdp": (FuncInfo(0, 5),), ".text": (FuncInfo(0, 8), FuncInfo(16, 6))},
        {"xdp": (LineInfo(8, 1, 2, 3), LineInfo(0, 4, 5, 6)), ".text": (LineInfo(8, 9, 9, 9), LineInfo(16, 7, 8, 9))},
        {},
    )
    unused, used = function("unused", [NOP, EXIT_INSN]), function("used", [NOP, EXIT_INSN], insn_off=2)
    obj = object_spec(program("p", [call(), EXIT_INSN], [CallRef(0, 2)]), subprograms=[unused, used], btf=btf_of(INT))
    found, _ = prepare_one(replace(obj, btf_ext=ext))
    assert list(struct.iter_unpack("=II", found.func_info)) == [(0, 5), (2, 6)]
    assert list(struct.iter_unpack("=IIII", found.line_info)) == [(0, 4, 5, 6), (1, 1, 2, 3), (2, 7, 8, 9)]


def test_program_without_function_info_is_loaded_without_any() -> None:
    ext = BtfExt({".text": (FuncInfo(0, 5),)}, {}, {})
    obj = object_spec(program("p", [EXIT_INSN]), btf=btf_of(INT))
    prepared = prepare(replace(obj, btf_ext=ext), KERNEL)
    assert prepared.programs["p"].func_info == b""
    assert prepared.warnings == ("prog 'p' has no function info",)


def test_subprogram_without_function_info_is_refused() -> None:
    sub = function("sub", [EXIT_INSN])
    obj = object_spec(program("p", [call(), EXIT_INSN], [CallRef(0, 0)]), subprograms=[sub], btf=btf_of(INT))
    with pytest.raises(RelocationError, match="'sub' has no function info, its caller has"):
        prepare(replace(obj, btf_ext=BtfExt({"xdp": (FuncInfo(0, 5),)}, {}, {})), KERNEL)


def test_kernel_without_function_info_gets_none() -> None:
    obj = object_spec(program("p", [EXIT_INSN]), btf=btf_of(INT))
    old = replace(KERNEL, features=KERNEL.features - {Feature.BTF_FUNC})
    found, _ = prepare_one(replace(obj, btf_ext=BtfExt({"xdp": (FuncInfo(0, 5),)}, {}, {})), old)
    assert found.func_info == b""


def test_kernel_without_btf_gets_neither_btf_nor_type_ids() -> None:
    spec = data_map(".data", ".data", 4, value_type_id=1)
    obj = object_spec(program("p", [EXIT_INSN]), maps=[spec], btf=btf_of(INT))
    prepared = prepare(obj, replace(KERNEL, features=KERNEL.features - {Feature.BTF}))
    assert prepared.btf is None
    assert prepared.maps[".data"].value_type_id == 0


def test_places_name_the_source_line() -> None:
    btf = btf_of(INT, Composite(BtfKind.STRUCT, "/src/fw.c", 0, ()))
    offset = btf.strings.index(b"/src/fw.c")
    ext = BtfExt({"xdp": (FuncInfo(0, 1),)}, {"xdp": (LineInfo(8, offset, 0, 34 << 10 | 5),)}, {})
    obj = object_spec(program("p", [NOP, NOP, NOP, EXIT_INSN], [MapRef(2, "m")]), btf=btf)
    with pytest.raises(RelocationError, match=r"insn #2 of 'p' \(fw.c:34\): code is"):
        prepare(replace(obj, btf_ext=ext), KERNEL)


def core_object(access: str, local_members: tuple[Member, ...]) -> ObjectSpec:
    local = btf_of(INT, Composite(BtfKind.STRUCT, "sample", 8, local_members))
    relo = CoreRelo(8, 2, access, CoreReloKind.FIELD_BYTE_OFFSET)
    obj = object_spec(
        program("p", [call(), EXIT_INSN], [CallRef(0, 0)]),
        subprograms=[function("sub", [NOP, Insn(0xB7, 0, 0, 0, 4), EXIT_INSN])],
        btf=local,
    )
    return replace(obj, btf_ext=BtfExt({}, {}, {".text": (relo,)}))


def test_core_record_of_a_subprogram_is_applied_in_the_program() -> None:
    kernel = btf_of(INT, Composite(BtfKind.STRUCT, "sample", 24, (Member("b", 1, 160, 0),)), name="vmlinux")
    obj = core_object("0:1", (Member("a", 1, 0, 0), Member("b", 1, 32, 0)))
    prepared = prepare(obj, target_kernel(kernel))
    insns = prepared.programs["p"].insns
    assert decode_insn(insns, 3, sys.byteorder).imm == 20
    assert [decision.program for decision in prepared.core_log] == ["sub"]


def test_core_failure_names_program_and_function() -> None:
    kernel = btf_of(INT, name="vmlinux")
    obj = core_object("0:9", (Member("a", 1, 0, 0),))
    with pytest.raises(CoreRelocationError, match=r"object 'fw': prog 'p': insn #1 of 'sub': CO-RE relo #0"):
        prepare(obj, target_kernel(kernel))


def test_partial_preparation_names_what_failed_and_why() -> None:
    kernel = btf_of(INT, name="vmlinux")
    obj = core_object("0:9", (Member("a", 1, 0, 0),))
    good, also = program("good", [EXIT_INSN]), program("also", [call(), EXIT_INSN], [CallRef(0, 0)])
    prepared = prepare(
        replace(obj, programs={**obj.programs, "good": good, "also": also}), target_kernel(kernel), partial=True
    )
    assert list(prepared.programs) == ["good"]
    assert list(prepared.failed) == ["p", "also"]
    assert str(prepared.failed["also"]).startswith("prog 'also': insn #1 of 'sub'")


def test_core_record_inside_an_instruction_is_refused() -> None:
    obj = core_object("0:0", (Member("a", 1, 0, 0),))
    relo = CoreRelo(12, 2, "0:0", CoreReloKind.FIELD_BYTE_OFFSET)
    with pytest.raises(CoreRelocationError, match="byte 12 is not the start of an instruction"):
        prepare(replace(obj, btf_ext=BtfExt({}, {}, {".text": (relo,)})), target_kernel(btf_of(INT)))


def test_core_record_of_code_without_function_is_skipped() -> None:
    obj = core_object("0:0", (Member("a", 1, 0, 0),))
    relo = CoreRelo(800, 2, "garbage", CoreReloKind.FIELD_BYTE_OFFSET)
    prepared = prepare(replace(obj, btf_ext=BtfExt({}, {}, {".text": (relo,)})), target_kernel(btf_of(INT)))
    assert prepared.core_log == ()


def test_weak_kfunc_that_is_missing_becomes_an_invalid_call() -> None:
    obj = object_spec(
        program("p", [call(), EXIT_INSN], [ExternRef(0, "bpf_new", call=True)]), btf=btf_of(INT, FuncProto(0, ()))
    )
    kfunc = extern("bpf_new", ExternKind.KFUNC, weak=True, type_id=2)
    _, insns = prepare_one(replace(obj, externs={"bpf_new": kfunc}), target_kernel(btf_of(INT)))
    assert insns[0] == Insn(0x85, 0, 0, 0, 2_002_000_000)


def test_unreferenced_extern_that_is_missing_is_no_error() -> None:
    obj = replace(
        object_spec(program("p", [EXIT_INSN]), btf=btf_of(INT)),
        externs={"gone": extern("gone", ExternKind.KSYM_TYPED, type_id=1)},
    )
    assert prepare(obj, target_kernel(btf_of(INT))).failed == {}


def test_tracing_program_finds_its_kernel_function() -> None:
    kernel = btf_of(FuncProto(0, ()), Func("do_it", 1, Linkage.STATIC), name="vmlinux")
    traced = replace(program("p", [EXIT_INSN]), type=ProgType.TRACING, attach_type=AttachType.TRACE_FENTRY)
    found, _ = prepare_one(object_spec(replace(traced, attach_target="do_it")), target_kernel(kernel))
    assert (found.attach_btf_id, found.attach_module) == (2, "")
    with pytest.raises(RelocationError, match="kernel has no func 'do_that'"):
        prepare(object_spec(replace(traced, attach_target="do_that")), target_kernel(kernel))
    with pytest.raises(ObjectError, match="names no kernel function"):
        prepare(object_spec(traced), target_kernel(kernel))


def test_raw_tracepoint_by_btf_finds_its_typedef() -> None:
    kernel = btf_of(Ref(BtfKind.TYPEDEF, "btf_trace_xdp_exception", 0), name="vmlinux")
    traced = replace(program("p", [EXIT_INSN]), type=ProgType.TRACING, attach_type=AttachType.TRACE_RAW_TP)
    found, _ = prepare_one(object_spec(replace(traced, attach_target="xdp_exception")), target_kernel(kernel))
    assert found.attach_btf_id == 1


@pytest.mark.parametrize(
    ("kind", "name", "needs"),
    [
        (ExternKind.KCONFIG, "CONFIG_HZ", {Need.KCONFIG}),
        (ExternKind.KCONFIG, "LINUX_HAS_BPF_COOKIE", {Need.TRACING_FEATURES}),
        (ExternKind.KCONFIG, "LINUX_KERNEL_VERSION", set()),
        (ExternKind.KSYM_TYPELESS, "jiffies", {Need.KALLSYMS}),
        (ExternKind.KFUNC, "bpf_kfunc", {Need.VMLINUX_BTF, Need.MODULE_BTF}),
        (ExternKind.KSYM_TYPED, "runqueues", {Need.VMLINUX_BTF, Need.MODULE_BTF}),
    ],
)
def test_needs_follow_from_externs(kind: ExternKind, name: str, needs: set[Need]) -> None:
    assert target_needs(replace(object_spec(), externs={name: extern(name, kind)})) == needs


def test_needs_follow_from_core_records() -> None:
    local = CoreRelo(0, 1, "0", CoreReloKind.TYPE_ID_LOCAL)
    exists = CoreRelo(0, 1, "0", CoreReloKind.TYPE_EXISTS)
    assert target_needs(replace(object_spec(), btf_ext=BtfExt({}, {}, {"xdp": (local,)}))) == set()
    assert Need.VMLINUX_BTF in target_needs(replace(object_spec(), btf_ext=BtfExt({}, {}, {"xdp": (local, exists)})))


def test_maps_are_settled_for_the_target() -> None:
    perf = data_map("perf", "", 4, type=MapType.PERF_EVENT_ARRAY, max_entries=0, key_type_id=1)
    prepared = prepare(object_spec(maps=[perf], btf=btf_of(INT)), KERNEL)
    assert prepared.maps["perf"].max_entries == 2
    assert Btf.parse(prepared.btf or b"", name="x").name_of(1) == "int"


@pytest.mark.parametrize("kind", [ProgType.EXT, ProgType.STRUCT_OPS])
def test_program_of_another_world_is_refused_by_name(kind: ProgType) -> None:
    with pytest.raises(ObjectError, match=r"object 'fw': prog 'p': (replaces a function|no struct_ops map)"):
        prepare(object_spec(replace(program("p", [EXIT_INSN]), type=kind)), KERNEL)


def test_more_records_than_instructions_are_refused() -> None:
    records = tuple(LineInfo(0, 0, 0, 0) for _ in range(2))
    obj = replace(object_spec(program("p", [EXIT_INSN]), btf=btf_of(INT)), btf_ext=BtfExt({}, {"xdp": records}, {}))
    with pytest.raises(RelocationError, match="'p' has 2 line records, more than instructions"):
        prepare(obj, KERNEL)


def test_programs_that_share_too_much_are_refused() -> None:
    sub = function("sub", [*[NOP] * 9_999, EXIT_INSN])
    programs = [program(f"p{n}", [call(), EXIT_INSN], [CallRef(0, 0)]) for n in range(400)]
    with pytest.raises(LimitError, match="programs have too many instructions when linked, at most 4000000 are taken"):
        prepare(object_spec(*programs, subprograms=[sub]), KERNEL, partial=True)


def test_strong_extern_that_no_loaded_program_uses_is_refused_for_the_whole_object_alone() -> None:
    ksym, kernel = extern("absent", ExternKind.KSYM_TYPELESS), target_kernel(kallsyms="")
    obj = replace(object_spec(program("main", [EXIT_INSN])), externs={"absent": ksym})
    assert prepare(obj, kernel).programs.keys() == {"main"}
    with pytest.raises(RelocationError, match=r"extern 'absent'"):
        prepare(obj, kernel, whole=True)
    weak = replace(obj, externs={"absent": replace(ksym, weak=True)})
    assert prepare(weak, kernel, whole=True).programs.keys() == {"main"}


def test_too_many_externs_and_core_records_are_refused() -> None:
    externs = {f"x{n}": extern(f"x{n}", ExternKind.KFUNC) for n in range(1025)}
    with pytest.raises(LimitError, match="object with 1025 externs, at most 1024"):
        prepare(replace(object_spec(), externs=externs), KERNEL)
    relos = (CoreRelo(0, 1, "0", CoreReloKind.TYPE_EXISTS),) * 16_385
    with pytest.raises(LimitError, match="object with 16385 CO-RE records, at most 16384"):
        prepare(replace(object_spec(btf=btf_of(INT)), btf_ext=BtfExt({}, {}, {"xdp": relos})), KERNEL)


def test_functions_of_equally_named_sections_are_kept_apart() -> None:
    obj = core_object("0:1", (Member("a", 1, 0, 0), Member("b", 1, 32, 0)))
    kernel = btf_of(INT, Composite(BtfKind.STRUCT, "sample", 24, (Member("b", 1, 160, 0),)), name="vmlinux")
    twin = replace(program("twin", [NOP, EXIT_INSN]), function=function("twin", [NOP, EXIT_INSN], section=".text"))
    prepared = prepare(replace(obj, programs={**obj.programs, "twin": twin}), target_kernel(kernel))
    assert prepared.programs["twin"].insns == twin.function.insns


def test_names_of_the_object_cannot_write_to_the_terminal() -> None:
    evil = "p\x1b[2J"
    obj = object_spec(program(evil, [NOP, EXIT_INSN], [MapRef(0, "m")]))
    with pytest.raises(RelocationError) as refused:
        prepare(replace(obj, name="fw\n"), KERNEL)
    assert str(refused.value).startswith(r"object 'fw\x0a': prog 'p\x1b[2J': insn #0 of 'p\x1b[2J': code is")

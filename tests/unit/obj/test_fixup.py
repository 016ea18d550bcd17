"""The BTF given to the kernel."""

from dataclasses import replace

import pytest

from tests.builders.spec import EXIT_INSN, btf_of, function, object_spec
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import (
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    Func,
    FuncProto,
    Int,
    Linkage,
    Ref,
    SecVar,
    Var,
)
from xdploaderd.errors import BtfError
from xdploaderd.obj.fixup import kernel_btf
from xdploaderd.obj.spec import DatasecLayout, ExternKind, ExternSpec, ObjectSpec
from xdploaderd.uapi.bpf import Feature

ALL = frozenset(Feature)
INT = Int("int", 4, 1, 0, 32)
LAYOUT = DatasecLayout(name=".data", size=24, offsets={"a": 16, "b": 0, "h": 8}, hidden=frozenset({"h"}))


def obj_of(
    *types: BtfType, datasecs: tuple[DatasecLayout, ...] = (), externs: tuple[ExternSpec, ...] = ()
) -> ObjectSpec:
    obj = object_spec(btf=btf_of(*types))
    return replace(obj, datasecs={d.name: d for d in datasecs}, externs={e.name: e for e in externs})


def fixed(obj: ObjectSpec) -> Btf:
    raw = kernel_btf(obj, ALL)
    assert raw is not None
    return Btf.parse(raw, name="fixed")


def data_object(size: int = 0) -> ObjectSpec:
    rows = (SecVar(2, 0, 4), SecVar(3, 0, 4), SecVar(4, 20, 4), SecVar(5, 0, 4))
    return obj_of(
        INT,
        Var("a", 1, Linkage.GLOBAL),
        Var("b", 1, Linkage.GLOBAL),
        Var("s", 1, Linkage.STATIC),
        Var("h", 1, Linkage.GLOBAL),
        Datasec(".data", size, rows),
        datasecs=(LAYOUT,),
    )


def test_datasec_gets_size_offsets_and_order() -> None:
    datasec = fixed(data_object()).type_by_id(6)
    assert isinstance(datasec, Datasec)
    assert datasec.size == 24
    assert [(row.type_id, row.offset) for row in datasec.vars] == [(3, 0), (5, 8), (2, 16), (4, 20)]


def test_datasec_of_a_linked_object_keeps_its_offsets() -> None:
    datasec = fixed(data_object(size=32)).type_by_id(6)
    assert isinstance(datasec, Datasec)
    assert datasec.size == 32
    assert [(row.type_id, row.offset) for row in datasec.vars] == [(2, 0), (3, 0), (5, 0), (4, 20)]


@pytest.mark.parametrize("size", [0, 32])
def test_hidden_variable_becomes_static(size: int) -> None:
    btf = fixed(data_object(size))
    assert btf.type_by_id(5) == Var("h", 1, Linkage.STATIC)
    assert btf.type_by_id(2) == Var("a", 1, Linkage.GLOBAL)


def test_hidden_function_becomes_static_and_others_stay() -> None:
    obj = obj_of(FuncProto(0, ()), *(Func(name, 1, Linkage.GLOBAL) for name in ("hidden", "global")))
    functions = (function("hidden", [EXIT_INSN]), function("global", [EXIT_INSN], insn_off=1))
    subprograms = {0: functions[0]._replace(static_linkage=True), 1: functions[1]}
    btf = fixed(replace(obj, subprograms=subprograms))
    assert btf.type_by_id(2) == Func("hidden", 1, Linkage.STATIC)
    assert btf.type_by_id(3) == Func("global", 1, Linkage.GLOBAL)


def test_ids_and_string_offsets_keep_their_meaning() -> None:
    obj = obj_of(INT, Composite(BtfKind.STRUCT, "sample", 4, ()), Ref(BtfKind.PTR, "", 2))
    assert obj.btf is not None
    btf = fixed(obj)
    assert btf.strings.startswith(obj.btf.strings)
    assert dict(btf.types()) == dict(obj.btf.types())


def ksym(name: str, kind: ExternKind) -> ExternSpec:
    return ExternSpec(name=name, kind=kind, type_id=0, weak=False)


def test_ksyms_become_variables_of_four_bytes() -> None:
    obj = obj_of(
        Ref(BtfKind.PTR, "", 0),
        Int("short", 2, 1, 0, 16),
        INT,
        Var("v", 1, Linkage.EXTERN),
        FuncProto(0, (("", 1), ("named", 1), ("", 0))),
        Func("k", 5, Linkage.EXTERN),
        Datasec(".ksyms", 0, (SecVar(4, 0, 0), SecVar(6, 0, 0))),
        externs=(ksym("v", ExternKind.KSYM_TYPED), ksym("k", ExternKind.KFUNC)),
    )
    btf = fixed(obj)
    assert btf.type_by_id(4) == Var("v", 3, Linkage.GLOBAL)
    assert btf.type_by_id(5) == FuncProto(0, (("dummy_ksym", 1), ("named", 1), ("", 0)))
    assert btf.type_by_id(6) == Func("k", 5, Linkage.GLOBAL)
    assert btf.type_by_id(7) == Datasec(".ksyms", 8, (SecVar(4, 0, 4), SecVar(8, 4, 4)))
    assert btf.type_by_id(8) == Var("dummy_ksym", 3, Linkage.GLOBAL)


def test_ksyms_without_function_add_no_type() -> None:
    obj = obj_of(
        INT,
        Var("v", 1, Linkage.EXTERN),
        Datasec(".ksyms", 0, (SecVar(2, 0, 0),)),
        externs=(ksym("v", ExternKind.KSYM_TYPED),),
    )
    assert len(fixed(obj)) == 4


def test_ksyms_of_an_object_without_int_get_one() -> None:
    obj = obj_of(
        Ref(BtfKind.PTR, "", 0),
        Var("v", 1, Linkage.EXTERN),
        Datasec(".ksyms", 0, (SecVar(2, 0, 0),)),
        externs=(ksym("v", ExternKind.KSYM_TYPED),),
    )
    assert fixed(obj).type_by_id(4) == INT


def test_kconfig_variables_get_the_places_of_their_values() -> None:
    obj = obj_of(
        INT,
        Var("CONFIG_A", 1, Linkage.EXTERN),
        Var("CONFIG_B", 1, Linkage.EXTERN),
        Datasec(".kconfig", 0, (SecVar(2, 0, 4), SecVar(3, 0, 4))),
        externs=(
            ExternSpec(name="CONFIG_B", kind=ExternKind.KCONFIG, type_id=1, weak=False, offset=0, size=4),
            ExternSpec(name="CONFIG_A", kind=ExternKind.KCONFIG, type_id=1, weak=False, offset=4, size=4),
        ),
    )
    btf = fixed(obj)
    assert btf.type_by_id(4) == Datasec(".kconfig", 8, (SecVar(3, 0, 4), SecVar(2, 4, 4)))
    assert btf.type_by_id(2) == Var("CONFIG_A", 1, Linkage.GLOBAL)


@pytest.mark.parametrize("section", [".ksyms", ".kconfig"])
def test_extern_without_symbol_is_refused(section: str) -> None:
    obj = obj_of(INT, Var("gone", 1, Linkage.EXTERN), Datasec(section, 0, (SecVar(2, 0, 4),)))
    with pytest.raises(BtfError, match="extern 'gone' has BTF, but no symbol in the file"):
        fixed(obj)


@pytest.mark.parametrize("section", [".ksyms", ".kconfig"])
def test_extern_section_that_holds_no_variables_is_refused(section: str) -> None:
    obj = obj_of(INT, Datasec(section, 0, (SecVar(1, 0, 4),)), externs=(ksym("int", ExternKind.KSYM_TYPED),))
    with pytest.raises(BtfError, match=rf"DATASEC '\{section}' holds type \[1\]"):
        fixed(obj)


def test_object_or_kernel_without_btf_gives_none() -> None:
    assert kernel_btf(object_spec(), ALL) is None
    assert kernel_btf(obj_of(INT), ALL - {Feature.BTF}) is None


def test_kernel_without_datasec_gets_structs() -> None:
    raw = kernel_btf(data_object(), ALL - {Feature.BTF_DATASEC})
    assert raw is not None
    assert Btf.parse(raw, name="old").kind_of(6) is BtfKind.STRUCT

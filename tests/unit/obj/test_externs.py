"""Extern symbols: what BTF says they are, and where the values of the kernel's configuration lie."""

import re
from pathlib import Path

import pytest

from tests.builders.btf import BOOL, CHAR, U32, U64, struct
from tests.builders.elf import Sec, Sym, object_of, program
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Array, BtfKind, BtfType, Datasec, Enum, Func, FuncProto, Linkage, SecVar, Var
from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.obj.elf import SymBind
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import ExternKind, ExternSpec, ObjectSpec

BPF = Path(__file__).parents[2] / "bpf"


def opened(section: str, *externs: tuple[str, BtfType], bind: int = SymBind.GLOBAL) -> ObjectSpec:
    """Open an object with extern variables of those types in a section."""
    types = BtfBuilder()
    types.add(CHAR)  # id 1, for arrays
    entries = []
    for name, btf_type in externs:
        var = Var(name, types.add(btf_type), Linkage.EXTERN)
        entries.append(SecVar(types.add(var), 0, 0))
    types.add(Datasec(section, 4, tuple(entries)))
    symbols = [Sym(name, 0, bind=bind) for name, _ in externs]
    return open_object(object_of(program("main"), *symbols, Sec(".BTF", types.encode())).build(), name="ex.o")


def test_values_are_laid_out_by_alignment_size_and_name() -> None:
    obj = opened(".kconfig", ("text", Array(1, 1, 5)), ("z_bool", BOOL), ("a_int", U32), ("long", U64), ("b_int", U32))
    laid_out = [(extern.name, extern.offset, extern.size) for extern in obj.externs.values()]
    assert laid_out == [("long", 0, 8), ("a_int", 8, 4), ("b_int", 12, 4), ("z_bool", 16, 1), ("text", 17, 5)]
    kconfig = obj.maps["ex.kconfig"]
    assert (kconfig.value_size, kconfig.flags, kconfig.freeze, kconfig.section) == (22, 0x480, True, ".kconfig")
    assert kconfig.value_type_id == obj.btf.ids_by_name(".kconfig", {BtfKind.DATASEC})[0] if obj.btf else False


def test_compiled_externs_are_told_apart() -> None:
    obj = open_object((BPF / "std_externs.bpf.o").read_bytes(), name="std_externs.bpf.o")
    kinds = {extern.name: extern.kind for extern in obj.externs.values()}
    assert kinds["CONFIG_HZ"] is ExternKind.KCONFIG
    assert kinds["no_such_symbol_at_all"] in (ExternKind.KSYM_TYPED, ExternKind.KSYM_TYPELESS)
    assert kinds["no_such_kfunc_at_all"] is ExternKind.KFUNC
    assert obj.externs["no_such_kfunc_at_all"].weak


def test_ksym_of_type_void_is_typeless() -> None:
    assert opened(".ksyms", ("sym", struct("task", 8))).externs["sym"].kind is ExternKind.KSYM_TYPED
    types = BtfBuilder()
    var = types.add(Var("sym", 0, Linkage.EXTERN))
    types.add(Datasec(".ksyms", 0, (SecVar(var, 0, 0),)))
    raw = object_of(program("main"), Sym("sym", 0, bind=SymBind.WEAK), Sec(".BTF", types.encode())).build()
    assert open_object(raw, name="t.o").externs["sym"] == ExternSpec(
        name="sym", kind=ExternKind.KSYM_TYPELESS, type_id=0, weak=True
    )


@pytest.mark.parametrize(
    "btf_type",
    [struct("s", 4), Array(1, 1, 0), Enum(BtfKind.ENUM, "other", 4, False, ()), FuncProto(0, ())],
)
def test_kconfig_of_another_type_is_refused(btf_type: BtfType) -> None:
    with pytest.raises(
        ObjectError, match="extern 'x': has a type that no configuration value fits, want one of bool, char"
    ):
        opened(".kconfig", ("x", btf_type))


def test_text_without_end_among_kernel_configuration_is_a_limit() -> None:
    with pytest.raises(LimitError, match="take 4294967295 bytes, at most 65536"):
        opened(".kconfig", ("x", Array(1, 1, 0xFFFFFFFF)))


def test_extern_of_another_section_is_refused() -> None:
    with pytest.raises(ObjectError, match="extern 'x': is described by BTF in no section known for externs"):
        opened(".other", ("x", U32))


def test_extern_without_btf_is_refused() -> None:
    with pytest.raises(ObjectError, match="extern 'x' needs BTF"):
        open_object(object_of(program("main"), Sym("x", 0)).build(), name="t.o")


def test_extern_that_btf_does_not_name_or_defines_is_refused() -> None:
    types = BtfBuilder()
    var = types.add(Var("defined", types.add(U32), Linkage.GLOBAL))
    types.add(Datasec(".ksyms", 0, (SecVar(var, 0, 0),)))
    section = Sec(".BTF", types.encode())
    for name, reason in (("x", "is described by BTF in no section"), ("defined", "is not declared extern")):
        with pytest.raises(ObjectError, match=reason):
            open_object(object_of(program("main"), Sym(name, 0), section).build(), name="t.o")


def test_function_among_kernel_configuration_is_refused() -> None:
    types = BtfBuilder()
    function = types.add(Func("f", types.add(FuncProto(0, ())), Linkage.EXTERN))
    types.add(Datasec(".kconfig", 0, (SecVar(function, 0, 0),)))
    with pytest.raises(ObjectError, match=re.escape("extern 'f': is a function, want a variable in .kconfig")):
        open_object(object_of(program("main"), Sym("f", 0), Sec(".BTF", types.encode())).build(), name="t.o")

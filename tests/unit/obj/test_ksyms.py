"""Kernel symbols by BTF and by kallsyms."""

import sys
from dataclasses import replace

import pytest

from tests.builders.spec import btf_of, target_kernel
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, BtfType, Func, FuncProto, Int, Linkage, Ref, Var
from xdploaderd.errors import RelocationError
from xdploaderd.obj.kallsyms import find_addresses
from xdploaderd.obj.ksyms import Address, KernelType, Resolved, resolve_ksym
from xdploaderd.obj.spec import ExternKind, ExternSpec, TargetKernel

INT = Int("int", 4, 1, 0, 32)
POINTER = Ref(BtfKind.PTR, "", 1)
LOCAL = btf_of(INT, POINTER, FuncProto(1, (("x", 1),)), Func("bpf_k", 3, Linkage.EXTERN), Var("v", 1, Linkage.EXTERN))
KSYMS = """\
ffffffff81000000 T _text
ffffffff81000100 t dup
ffffffff81000200 t dup
ffffffff81000300 d table.llvm.123456
ffffffff81000400 T text.llvm.123456
ffffffffc0000000 t in_module\t[veth]
ffffffffc0000100 t prefix_in_module\t[veth]
ffffffff81000500 T last"""


def extern(name: str, kind: ExternKind, *, weak: bool = False) -> ExternSpec:
    type_id = {ExternKind.KFUNC: 4, ExternKind.KSYM_TYPED: 1, ExternKind.KSYM_TYPELESS: 0}.get(kind, 0)
    return ExternSpec(name=name, kind=kind, type_id=type_id, weak=weak)


def kernel(*types: BtfType) -> Btf:
    return btf_of(INT, POINTER, *types, name="vmlinux")


def resolve(wanted: ExternSpec, local: Btf | None, target: TargetKernel) -> Resolved:
    addresses = None if target.kallsyms is None else find_addresses(target.kallsyms, {wanted.name})
    return resolve_ksym(wanted, local, target, addresses)


def module_of(base: Btf, *types: BtfType) -> Btf:
    builder = BtfBuilder(strings=b"", first_id=len(base), first_offset=len(base.strings))
    for btf_type in types:
        builder.add(btf_type)
    return Btf.parse(builder.encode(sys.byteorder), name="veth", base=base)


@pytest.mark.parametrize("name", ["bpf_k", "bpf_k___v2", "bpf_k___a___b"])
def test_kfunc_is_found_without_its_flavor(name: str) -> None:
    own = "bpf_k" if name != "bpf_k___a___b" else "bpf_k___a"
    vmlinux = kernel(FuncProto(1, (("y", 1),)), Func(own, 3, Linkage.STATIC))
    assert resolve(extern(name, ExternKind.KFUNC), LOCAL, target_kernel(vmlinux)) == KernelType(4)


def test_kfunc_of_a_module_names_the_module() -> None:
    vmlinux = kernel()
    module = module_of(vmlinux, FuncProto(1, (("x", 1),)), Func("bpf_k", 3, Linkage.STATIC))
    found = resolve(extern("bpf_k", ExternKind.KFUNC), LOCAL, target_kernel(vmlinux, module))
    assert found == KernelType(4, "veth")


def test_missing_kfunc_is_refused_by_name_unless_weak() -> None:
    target = target_kernel(kernel())
    with pytest.raises(RelocationError, match="extern 'bpf_k': kernel has no function 'bpf_k' in its BTF"):
        resolve(extern("bpf_k", ExternKind.KFUNC), LOCAL, target)
    assert resolve(extern("bpf_k", ExternKind.KFUNC, weak=True), LOCAL, target) is None


def test_kfunc_of_other_prototype_is_refused_unless_weak() -> None:
    target = target_kernel(kernel(FuncProto(1, (("x", 2),)), Func("bpf_k", 3, Linkage.STATIC)))
    with pytest.raises(RelocationError, match="prototype differs from that of function 'bpf_k' in BTF 'vmlinux'"):
        resolve(extern("bpf_k", ExternKind.KFUNC), LOCAL, target)
    assert resolve(extern("bpf_k", ExternKind.KFUNC, weak=True), LOCAL, target) is None


def test_variable_is_found_by_name() -> None:
    target = target_kernel(kernel(Var("v", 1, Linkage.GLOBAL)))
    assert resolve(extern("v", ExternKind.KSYM_TYPED), LOCAL, target) == KernelType(3)


def test_variable_may_be_const_on_either_side() -> None:
    const = Ref(BtfKind.CONST, "", 1)
    local, target = btf_of(INT, const, name="object"), target_kernel(kernel(Var("v", 1, Linkage.GLOBAL)))
    spec = replace(extern("v", ExternKind.KSYM_TYPED), type_id=2)
    assert isinstance(resolve(spec, local, target), KernelType)
    constant = target_kernel(btf_of(INT, const, Var("v", 2, Linkage.GLOBAL), name="vmlinux"))
    assert isinstance(resolve(extern("v", ExternKind.KSYM_TYPED), btf_of(INT, name="object"), constant), KernelType)


def test_missing_variable_is_refused_unless_weak() -> None:
    with pytest.raises(RelocationError, match="extern 'v': kernel has no variable 'v'"):
        resolve(extern("v", ExternKind.KSYM_TYPED), LOCAL, target_kernel(kernel()))
    assert resolve(extern("v", ExternKind.KSYM_TYPED, weak=True), LOCAL, target_kernel(kernel())) is None


def test_variable_of_other_type_is_refused_even_when_weak() -> None:
    target = target_kernel(kernel(Var("v", 2, Linkage.GLOBAL)))
    with pytest.raises(RelocationError, match="type differs from that of variable 'v'"):
        resolve(extern("v", ExternKind.KSYM_TYPED, weak=True), LOCAL, target)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("_text", 0xFFFFFFFF81000000),
        ("table", 0xFFFFFFFF81000300),
        ("in_module", 0xFFFFFFFFC0000000),
        ("last", 0xFFFFFFFF81000500),
    ],
)
def test_address_comes_from_kallsyms(name: str, address: int) -> None:
    found = resolve(extern(name, ExternKind.KSYM_TYPELESS), None, target_kernel(kallsyms=KSYMS))
    assert found == Address(address)


@pytest.mark.parametrize("name", ["text", "module", "_tex", "T"])
def test_missing_symbol_is_refused_unless_weak(name: str) -> None:
    target = target_kernel(kallsyms=KSYMS)
    with pytest.raises(RelocationError, match=f"extern '{name}': kernel has no such symbol"):
        resolve(extern(name, ExternKind.KSYM_TYPELESS), None, target)
    assert resolve(extern(name, ExternKind.KSYM_TYPELESS, weak=True), None, target) == Address(0)


def test_ambiguous_symbol_is_refused_even_when_weak() -> None:
    with pytest.raises(
        RelocationError, match="names several kernel symbols, at 0xffffffff81000100, 0xffffffff81000200"
    ):
        resolve(extern("dup", ExternKind.KSYM_TYPELESS, weak=True), None, target_kernel(kallsyms=KSYMS))


def test_hidden_addresses_are_zero() -> None:
    hidden = "0000000000000000 t dup\n0000000000000000 T dup\n"
    found = resolve(extern("dup", ExternKind.KSYM_TYPELESS), None, target_kernel(kallsyms=hidden))
    assert found == Address(0)


def test_unreadable_kallsyms_is_refused() -> None:
    with pytest.raises(RelocationError, match="kernel symbols cannot be read"):
        resolve(extern("x", ExternKind.KSYM_TYPELESS, weak=True), None, target_kernel())


def test_garbage_in_kallsyms_is_refused() -> None:
    with pytest.raises(RelocationError, match="has the address 'zz'"):
        resolve(extern("x", ExternKind.KSYM_TYPELESS), None, target_kernel(kallsyms="zz T x\n"))

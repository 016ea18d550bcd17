"""What externs become in the instructions."""

import sys

import pytest

from tests.builders.spec import EXIT_INSN, call, function, load64
from xdploaderd.errors import RelocationError
from xdploaderd.insn import CALL, Insn, iter_insns
from xdploaderd.obj.extern_values import ExternValue, ExternValues, KconfigValue
from xdploaderd.obj.ksyms import Address, KernelType
from xdploaderd.obj.link import link_program
from xdploaderd.obj.references import write_references
from xdploaderd.obj.spec import DataRef, ExternRef, FdRef, KsymRef
from xdploaderd.uapi.bpf import PSEUDO_KFUNC_CALL, PseudoSrc


def written(insns: list[Insn], ref: ExternRef, value: ExternValue) -> tuple[list[Insn], tuple[FdRef, ...]]:
    linked = link_program(
        function("p", [*insns, EXIT_INSN], [ref], section="xdp"), {}, locate=lambda _, slot: f"#{slot}"
    )
    values = ExternValues(values={"first": None, "x": value}, errors={}, order={"first": 0, "x": 1})
    code, fd_refs = write_references(linked, values, {}, locate=lambda slot: f"insn #{slot}")
    return list(iter_insns(code, sys.byteorder)), fd_refs


def test_kfunc_of_the_kernel_is_called_by_its_btf_id() -> None:
    insns, fd_refs = written([call()], ExternRef(0, "x", call=True), KernelType(4711))
    assert insns[0] == Insn(CALL, 0, PSEUDO_KFUNC_CALL, 0, 4711)
    assert fd_refs == ()


def test_kfunc_of_a_module_waits_for_the_modules_btf() -> None:
    _, fd_refs = written([call()], ExternRef(0, "x", call=True), KernelType(4711, "nf_nat"))
    assert fd_refs == (KsymRef(0, "nf_nat", call=True),)


def test_missing_weak_kfunc_is_poisoned_by_its_number() -> None:
    insns, _ = written([call()], ExternRef(0, "x", call=True), None)
    assert insns[0] == Insn(CALL, 0, 0, 0, 2_002_000_001)


def test_kernel_variable_is_loaded_by_its_btf_id() -> None:
    insns, fd_refs = written(load64(), ExternRef(0, "x", call=False), KernelType(12))
    assert (insns[0].src_reg, insns[0].imm, insns[1].imm) == (PseudoSrc.BTF_ID, 12, 0)
    assert fd_refs == ()


def test_variable_of_a_module_waits_for_the_modules_btf() -> None:
    _, fd_refs = written(load64(), ExternRef(0, "x", call=False), KernelType(12, "nf_nat"))
    assert fd_refs == (KsymRef(0, "nf_nat", call=False),)


def test_missing_weak_variable_is_a_plain_zero() -> None:
    insns, _ = written(load64(imm=5), ExternRef(0, "x", call=False), None)
    assert (insns[0].src_reg, insns[0].imm, insns[1].imm) == (0, 0, 0)


def test_address_fills_both_slots() -> None:
    insns, _ = written(load64(), ExternRef(0, "x", call=False), Address(0xFFFFFFFF81234567))
    assert (insns[0].src_reg, insns[0].imm & 0xFFFFFFFF, insns[1].imm) == (0, 0x81234567, -1)


def test_configuration_value_is_a_reference_to_its_map() -> None:
    insns, fd_refs = written(load64(), ExternRef(0, "x", call=False), KconfigValue(".kconfig", 12))
    assert (insns[0].src_reg, insns[0].imm, insns[1].imm) == (PseudoSrc.MAP_VALUE, 0, 12)
    assert fd_refs == (DataRef(0, ".kconfig", 12),)


def test_call_of_an_address_is_refused() -> None:
    with pytest.raises(RelocationError, match="insn #0: extern 'x' is called, but is no function"):
        written([call()], ExternRef(0, "x", call=True), Address(1))


def test_call_by_an_instruction_that_calls_nothing_is_refused() -> None:
    with pytest.raises(RelocationError, match="by an instruction with code 0x18"):
        written(load64(), ExternRef(0, "x", call=True), KernelType(1))


def test_unknown_extern_is_refused() -> None:
    with pytest.raises(RelocationError, match="extern 'y' is not one of the object"):
        written([call()], ExternRef(0, "y", call=True), None)

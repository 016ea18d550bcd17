"""The tables of who may call which helper, against what this kernel's verifier says of a call of each."""

import os

import pytest

from tests.support.rawbpf import refusal_of
from xdploaderd.insn import CALL, EXIT, Insn, encode_insns
from xdploaderd.uapi.bpf import Helper, ProgType
from xdploaderd.uapi.releases import parse_release
from xdploaderd.verdict.helper_rules import GPL_ONLY_HELPERS, NEWEST_KNOWN, is_gpl_compatible, may_call

pytestmark = pytest.mark.kernel
# What verifiers say of a helper that the program type has not.
_NOT_FOR_TYPE = ("cannot use helper", "unknown func", "invalid func")
_TYPES = (ProgType.XDP, ProgType.SCHED_CLS, ProgType.SCHED_ACT)


def said_of(helper: Helper, prog_type: ProgType, licence: bytes) -> str:
    insns = (Insn(CALL, 0, 0, 0, helper), Insn(0xB7, 0, 0, 0, 0), Insn(EXIT, 0, 0, 0, 0))
    return refusal_of(prog_type, encode_insns(insns), licence)


@pytest.mark.parametrize("prog_type", _TYPES, ids=lambda found: found.name)
def test_kernel_refuses_every_helper_that_the_table_does_not_have(prog_type: ProgType) -> None:
    release = parse_release(os.uname().release)
    wrong = []
    for helper in Helper:
        refused = any(words in said_of(helper, prog_type, b"GPL") for words in _NOT_FOR_TYPE)
        if may_call(prog_type, helper) is False and not refused and release and release <= NEWEST_KNOWN:
            wrong.append(f"{helper.name} can be called")
        if may_call(prog_type, helper) and refused and release == NEWEST_KNOWN:
            wrong.append(f"{helper.name} cannot be called")
    assert wrong == []


@pytest.mark.parametrize("prog_type", [*_TYPES, ProgType.KPROBE, ProgType.TRACEPOINT], ids=lambda found: found.name)
def test_helpers_for_the_gpl_alone_are_those_of_the_kernel(prog_type: ProgType) -> None:
    differing = {Helper.get_stackid, Helper.get_stack, Helper.get_func_ip}
    judged = 0
    for helper in set(Helper) - differing:
        free, gpl = (said_of(helper, prog_type, licence) for licence in (b"MIT", b"GPL"))
        if not any(words in gpl for words in _NOT_FOR_TYPE):
            assert ("GPL" in free) is (helper in GPL_ONLY_HELPERS), helper.name
            judged += 1
    assert judged > 10, "the kernel gives every type of program more helpers than these"


@pytest.mark.parametrize("text", ["GPL", "GPL v2", "Dual MIT/GPL", "Dual BSD/GPL", "MIT", "gpl", "GPLv2", "GPL ", ""])
def test_licenses_are_judged_as_the_kernel_does(text: str) -> None:
    refused = "GPL" in said_of(Helper.trace_printk, ProgType.XDP, text.encode())
    assert refused is not is_gpl_compatible(text)

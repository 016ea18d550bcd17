"""Which instructions can run, decided by constants alone."""

import sys

import pytest

from xdploaderd.insn import CALL, EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.spec import DataRef
from xdploaderd.verdict.reach import reachable

DONE = Insn(EXIT, 0, 0, 0, 0)


def mov(register: int, value: int) -> Insn:
    return Insn(0xB7, register, 0, 0, value)


def jump_if_zero(register: int, over: int) -> Insn:
    return Insn(0x15, register, 0, over, 0)


def helper(number: int = 5) -> Insn:
    return Insn(CALL, 0, 0, 0, number)


def slots(*insns: Insn) -> tuple[set[int], set[int]]:
    reach = reachable(encode_insns(insns, sys.byteorder), (), {})
    return set(reach.certain), set(reach.possible)


def test_branch_on_a_constant_is_followed_one_way() -> None:
    certain, possible = slots(mov(1, 0), jump_if_zero(1, 1), helper(), DONE)
    assert certain == possible == {0, 1, 3}
    certain, possible = slots(mov(1, 1), jump_if_zero(1, 1), helper(), DONE)
    assert certain == {0, 1, 2, 3}


def test_branch_on_input_is_certain_both_ways() -> None:
    certain, possible = slots(Insn(0x61, 2, 1, 0, 0), jump_if_zero(2, 1), helper(), DONE)
    assert certain == possible == {0, 1, 2, 3}


def test_branch_on_what_two_ways_left_behind_is_doubtful() -> None:
    certain, possible = slots(
        Insn(0x61, 2, 1, 0, 0),
        mov(3, 0),
        jump_if_zero(2, 1),
        mov(3, 1),
        jump_if_zero(3, 1),
        helper(),
        DONE,
    )
    assert 5 in possible
    assert 5 not in certain


def test_constants_survive_arithmetic_copies_and_narrow_jumps() -> None:
    code = [mov(1, 6), Insn(0x57, 1, 0, 0, 1), Insn(0xBF, 2, 1, 0, 0), Insn(0x16, 2, 0, 1, 0), helper(), DONE]
    assert 4 not in slots(*code)[1]


@pytest.mark.parametrize(
    ("op", "value", "taken"), [(0xC5, 0, True), (0xA5, 0, False), (0x65, -2, True), (0x25, 5, True)]
)
def test_signed_and_unsigned_comparisons_differ(op: int, value: int, taken: bool) -> None:
    _, possible = slots(mov(1, -1), Insn(op, 1, 0, 1, value), helper(), DONE)
    assert (2 not in possible) is taken


def test_read_only_data_are_constants() -> None:
    code = encode_insns(
        [
            Insn(LD_IMM64, 1, 2, 0, 0),
            Insn(0, 0, 0, 0, 4),
            Insn(0x61, 2, 1, 0, 0),
            jump_if_zero(2, 1),
            helper(),
            DONE,
        ],
        sys.byteorder,
    )
    refs = [DataRef(0, "fw.rodata", 4)]
    assert 4 not in reachable(code, refs, {"fw.rodata": bytes(8)}).possible
    assert 4 in reachable(code, refs, {"fw.rodata": bytes(4) + b"\1" + bytes(3)}).certain
    assert 4 in reachable(code, refs, {}).certain
    assert 4 in reachable(code, refs, {"fw.rodata": bytes(5)}).possible


def test_functions_that_are_called_can_run() -> None:
    call = Insn(CALL, 0, 1, 0, 1)
    certain, _ = slots(call, DONE, helper(), DONE)
    assert certain == {0, 1, 2, 3}


def test_registers_do_not_survive_calls_but_saved_ones_do() -> None:
    assert 4 in slots(mov(1, 0), helper(), jump_if_zero(1, 1), DONE, helper(), DONE)[1]
    assert 3 not in slots(mov(6, 0), helper(), jump_if_zero(6, 1), DONE, DONE)[1]


def test_loop_ends() -> None:
    _, possible = slots(mov(1, 0), Insn(0x07, 1, 0, 0, 1), Insn(0xA5, 1, 0, -2, 1000), helper(), DONE)
    assert 3 in possible


def test_jumps_out_of_the_program_are_ignored() -> None:
    assert slots(Insn(0x05, 0, 0, 30000, 0))[1] == {0}
    assert slots(Insn(0x05, 0, 0, -3, 0))[1] == {0}
    assert slots(Insn(LD_IMM64, 1, 0, 0, 0))[1] == {0}

"""Subprograms behind their program, in libbpf's order, with calls settled."""

import sys

import pytest

from tests.builders.spec import EXIT_INSN, NOP, call, function, load64
from xdploaderd.errors import RelocationError
from xdploaderd.insn import Insn, decode_insn, iter_insns
from xdploaderd.obj.link import LinkedProgram, link_program
from xdploaderd.obj.spec import CallRef, ExternRef, FuncRef, FunctionSpec, MapRef
from xdploaderd.uapi.bpf import PseudoSrc


def link(
    entry: FunctionSpec, *subprograms: FunctionSpec, callback: FunctionSpec | None = None
) -> tuple[LinkedProgram, list[Insn], dict[str, int]]:
    by_start = {spec.insn_off: spec for spec in subprograms}
    linked = link_program(entry, by_start, locate=lambda at, slot: f"insn #{slot} of '{at.name}'", callback=callback)
    positions = {placement.function.name: placement.position for placement in linked.placements}
    return linked, list(iter_insns(linked.insns, sys.byteorder)), positions


def test_order_and_distances_are_those_of_libbpf() -> None:
    # The example of an object that libbpf 1.1 linked: 16 instructions, then functions at 16, 23 and 27. In .text they
    # lie in another order: static (12), global (4), hidden (7).
    static = function("sub_static", [NOP] * 11 + [EXIT_INSN], insn_off=0)
    shared = function("sub_global", [NOP, NOP, call(), EXIT_INSN], [CallRef(2, 0)], insn_off=12)
    hidden = function("sub_hidden", [NOP] * 5 + [call(12 - (16 + 5) - 1), EXIT_INSN], insn_off=16)
    entry = function("tgt", [NOP, call(), call(), *[NOP] * 12, EXIT_INSN], [CallRef(1, 16), CallRef(2, 0)], section="x")
    _, insns, positions = link(entry, static, shared, hidden)
    assert positions == {"tgt": 0, "sub_hidden": 16, "sub_global": 23, "sub_static": 27}
    assert [insns[slot].imm for slot in (1, 2, 21, 25)] == [14, 24, 1, 1]


def test_legacy_order_is_that_of_the_addresses() -> None:
    one = function("one", [EXIT_INSN])
    two = function("two", [call(), EXIT_INSN], [CallRef(0, 0)], insn_off=1)
    unused = function("unused", [EXIT_INSN], insn_off=3)
    own = function("own", [EXIT_INSN], section="prog", insn_off=4)
    entry = function(
        "main", [call(), call(), call(), EXIT_INSN], [CallRef(0, 1), CallRef(1, 0), CallRef(2, 7 << 32)], section="prog"
    )
    linked = link_program(
        entry,
        {0: one, 1: two, 3: unused, 7 << 32: own},
        locate=lambda at, slot: f"insn #{slot} of '{at.name}'",
        by_address=True,
    )
    assert {p.function.name: p.position for p in linked.placements} == {"main": 0, "own": 4, "one": 5, "two": 6}
    assert [insn.imm for insn in iter_insns(linked.insns, sys.byteorder)][:3] == [5, 3, 1]


def test_call_without_relocation_reaches_another_static_function() -> None:
    first = function("first", [call(1), EXIT_INSN])
    second = function("second", [NOP, EXIT_INSN], insn_off=2)
    _, insns, positions = link(function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp"), first, second)
    assert positions == {"main": 0, "first": 2, "second": 4}
    assert insns[2].imm == 1


def test_recursion_ends_and_settles_calls_back() -> None:
    ping = function("ping", [call(), EXIT_INSN], [CallRef(0, 2)])
    pong = function("pong", [call(), EXIT_INSN], [CallRef(0, 0)], insn_off=2)
    _, insns, positions = link(function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp"), ping, pong)
    assert positions == {"main": 0, "ping": 2, "pong": 4}
    assert insns[4].imm == 2 - 4 - 1


def test_call_inside_the_function_itself_stays() -> None:
    _, insns, _ = link(function("whole_section", [call(1), EXIT_INSN, NOP, EXIT_INSN], section="classifier"))
    assert insns[0] == call(1)


def test_long_chain_of_calls_needs_no_python_stack() -> None:
    depth = 3000
    chain = [function(f"f{n}", [call(1), EXIT_INSN], insn_off=2 * n) for n in range(depth)]
    last = function("last", [EXIT_INSN], insn_off=2 * depth)
    _, insns, _ = link(function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp"), *chain, last)
    assert len(insns) == 2 + 2 * depth + 1


def test_address_of_function_becomes_pseudo_func() -> None:
    callback = function("callback", [EXIT_INSN])
    _, insns, _ = link(function("main", [*load64(), EXIT_INSN], [FuncRef(0, 0)], section="xdp"), callback)
    assert (insns[0].src_reg, insns[0].imm) == (PseudoSrc.FUNC, 2)


def test_relocations_move_with_their_function() -> None:
    sub = function("sub", [NOP, *load64(), EXIT_INSN], [MapRef(1, "m")])
    linked, _, _ = link(function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp"), sub)
    assert linked.relocs == (MapRef(3, "m"),)


def test_call_of_extern_is_no_call_of_subprogram() -> None:
    linked, _, positions = link(
        function("main", [call(), EXIT_INSN], [ExternRef(0, "bpf_kfunc", call=True)], section="xdp"),
        function("sub", [EXIT_INSN]),
    )
    assert positions == {"main": 0}
    assert linked.relocs == (ExternRef(0, "bpf_kfunc", call=True),)


def test_exception_callback_is_appended_once() -> None:
    callback = function("on_throw", [EXIT_INSN])
    _, _, positions = link(function("main", [NOP, EXIT_INSN], section="xdp"), callback, callback=callback)
    assert positions == {"main": 0, "on_throw": 2}
    entry = function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp")
    linked, _, _ = link(entry, callback, callback=callback)
    assert len(linked.placements) == 2


def test_call_where_no_function_starts_is_refused_with_its_place() -> None:
    entry = function("main", [NOP, call(), EXIT_INSN], [CallRef(1, 1)], section="xdp")
    with pytest.raises(RelocationError, match=r"insn #1 of 'main': calls instruction 1 .* no function starts"):
        link(entry, function("sub", [NOP, EXIT_INSN]))


def test_call_into_own_section_outside_text_is_refused() -> None:
    with pytest.raises(RelocationError, match=r"want one of '\.text'"):
        link(function("main", [call(5), EXIT_INSN], section="xdp"))


def test_function_address_without_relocation_is_refused() -> None:
    with pytest.raises(RelocationError, match="without a relocation"):
        link(function("main", [*load64(src_reg=4), EXIT_INSN], section="xdp"))


def test_call_with_map_relocation_is_refused() -> None:
    with pytest.raises(RelocationError, match="relocation is of another kind"):
        link(function("main", [call(), EXIT_INSN], [MapRef(0, "m")], section="xdp"))


def test_original_functions_are_not_changed() -> None:
    sub = function("sub", [NOP, EXIT_INSN])
    entry = function("main", [call(), EXIT_INSN], [CallRef(0, 0)], section="xdp")
    before = entry.insns
    link(entry, sub)
    assert entry.insns == before
    assert decode_insn(before, 0, sys.byteorder).imm == -1

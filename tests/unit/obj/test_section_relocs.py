"""Loads of maps, found for a whole section at once: the same as one by one, whatever is between them."""

from itertools import permutations

import pytest

from tests.builders.elf import RETURN_0, Rel, Sec, Sym, object_of
from tests.builders.legacy import maps_of, record
from xdploaderd.errors import RelocationError
from xdploaderd.insn import CALL, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.elf import SymType
from xdploaderd.obj.elf_sections import SHF_EXECINSTR
from xdploaderd.obj.open import open_object
from xdploaderd.obj.section_relocs import MapLoads
from xdploaderd.obj.spec import CallRef, MapRef, Reloc
from xdploaderd.uapi.bpf import MapType

ARRAY = record(MapType.ARRAY, 4, 8, 16, 0, 0, 0)
HELPER = encode_insns([Insn(CALL, 0, 0, 0, 5)])
CALLEE = encode_insns([Insn(CALL, 0, 1, 0, -1)])
LOAD = encode_insns([Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 0)])
HALF_LOAD = encode_insns([Insn(LD_IMM64, 1, 0, 0, 0)])


def references(*functions: bytes, relocs: tuple[Rel, ...]) -> list[tuple[Reloc, ...]]:
    """Return the references of functions f0, f1, ... of one section, in an object with the maps one and two."""
    symbols, at = [], 0
    for number, code in enumerate(functions):
        symbols.append(Sym(f"f{number}", "xdp", at, len(code), SymType.FUNC))
        at += len(code)
    section = Sec("xdp", b"".join(functions), flags=SHF_EXECINSTR)
    text = Sec(".text", RETURN_0, flags=SHF_EXECINSTR), Sym("sub", ".text", 0, len(RETURN_0), SymType.FUNC)
    obj = open_object(object_of(*maps_of(one=ARRAY, two=ARRAY), section, *symbols, *text, *relocs).build(), name="t.o")
    return [tuple(obj.programs[symbol.name].function.relocs) for symbol in symbols]


@pytest.mark.parametrize(
    "relocs", list(permutations([Rel("xdp", 0, "one"), Rel("xdp", 16, "two"), Rel("xdp", 48, "one")]))
)
def test_loads_count_from_their_function_in_whatever_order_the_file_has_them(relocs: tuple[Rel, ...]) -> None:
    both, one = LOAD * 2 + RETURN_0, LOAD + RETURN_0
    assert references(both, one, relocs=relocs) == [(MapRef(0, "one"), MapRef(2, "two")), (MapRef(0, "one"),)]


@pytest.mark.parametrize("between", [b"", HELPER, RETURN_0])
def test_calls_of_helpers_are_no_references(between: bytes) -> None:
    relocs = Rel("xdp", 0, "one"), Rel("xdp", 16 + len(between), "two")
    found = references(LOAD + between + LOAD + RETURN_0, relocs=relocs)
    assert found == [(MapRef(0, "one"), MapRef(2 + len(between) // 8, "two"))]


def test_loads_beside_calls_of_functions_are_the_same() -> None:
    relocs = Rel("xdp", 0, "one"), Rel("xdp", 16, "sub"), Rel("xdp", 24, "two")
    found = references(LOAD + CALLEE + LOAD + RETURN_0, LOAD + RETURN_0, relocs=(*relocs, Rel("xdp", 56, "two")))
    assert found == [(MapRef(0, "one"), CallRef(2, 0), MapRef(3, "two")), (MapRef(0, "two"),)]


def test_load_without_a_relocation_is_no_reference() -> None:
    assert references(LOAD * 2 + RETURN_0, relocs=(Rel("xdp", 16, "two"),)) == [(MapRef(2, "two"),)]


@pytest.mark.parametrize(
    ("code", "at", "reason"),
    [
        (RETURN_0, 0, "insn #0: symbol 'one': opcode 0xb7 cannot be relocated"),
        (RETURN_0 + HALF_LOAD, 16, "insn #2: symbol 'one': 64-bit load is cut off"),
        (HELPER + RETURN_0, 0, "insn #0: symbol 'one': call of a function of this object has src_reg 0"),
        (LOAD + RETURN_0, 4, "relo #1 of section 'xdp': offset 0x14 is no instruction"),
        (LOAD + RETURN_0, 32, "relo #1 of section 'xdp': offset 0x30 is no instruction"),
        (LOAD + RETURN_0, -16, "relo #1 of section 'xdp': instruction 0 has two relocations"),
    ],
)
def test_reference_that_is_no_load_is_refused_among_good_ones(code: bytes, at: int, reason: str) -> None:
    with pytest.raises(RelocationError) as caught:
        references(LOAD, code, relocs=(Rel("xdp", 0, "one"), Rel("xdp", 16 + at, "one")))
    assert reason in str(caught.value)


def test_references_are_a_sequence_like_any_other() -> None:
    loads = MapLoads([16, 40], ["one", "two"], 16)
    both = MapRef(0, "one"), MapRef(3, "two")
    assert (len(loads), loads[-1], loads[:1], both[0] in loads) == (2, both[1], both[:1], True)
    assert loads == both
    assert loads != both[:1]
    assert hash(loads) == hash(both)

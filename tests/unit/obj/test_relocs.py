"""Relocations of code: what each becomes, and what is refused with function, instruction and symbol."""

import pytest

from tests.builders.elf import RETURN_0, Rel, Sec, Sym, object_of, program
from xdploaderd.errors import LimitError, RelocationError
from xdploaderd.insn import CALL, LD_IMM64, Insn, encode_insns
from xdploaderd.limits import Limits
from xdploaderd.obj.elf import SymBind, SymType, SymVisibility
from xdploaderd.obj.elf_sections import SHF_EXECINSTR, SectionType
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import CallRef, DataRef, FuncRef, ObjectSpec

SECTION_OF_TEXT = Sym("", ".text", type=SymType.SECTION, bind=SymBind.LOCAL)
SECTION_OF_DATA = Sym("", ".data", type=SymType.SECTION, bind=SymBind.LOCAL)


def call(imm: int, src_reg: int = 1) -> bytes:
    return encode_insns([Insn(CALL, 0, src_reg, 0, imm)])


def load(imm: int, src_reg: int = 0) -> bytes:
    return encode_insns([Insn(LD_IMM64, 1, src_reg, 0, imm), Insn(0, 0, 0, 0, 0)])


def text(*insns: bytes) -> list[Sec | Sym]:
    """Return section .text with one global function for each argument, named f0, f1, ..."""
    symbols, at = [], 0
    for number, code in enumerate(insns):
        symbols.append(Sym(f"f{number}", ".text", at, len(code), SymType.FUNC))
        at += len(code)
    return [Sec(".text", b"".join(insns), flags=SHF_EXECINSTR), *symbols]


def opened(insns: bytes, *parts: Sec | Sym | Rel) -> ObjectSpec:
    return open_object(object_of(program("main", insns=insns + RETURN_0), *parts).build(), name="t.o")


def refused(insns: bytes, *parts: Sec | Sym | Rel) -> str:
    with pytest.raises(RelocationError) as caught:
        opened(insns, *parts)
    return str(caught.value)


def test_call_of_a_global_function_goes_to_its_symbol() -> None:
    obj = opened(call(-1), *text(RETURN_0, RETURN_0), Rel("xdp", 0, "f1"))
    assert obj.programs["main"].function.relocs == (CallRef(0, 2),)


def test_call_of_a_static_function_goes_by_section_symbol_and_immediate() -> None:
    obj = opened(call(1), *text(RETURN_0, RETURN_0), SECTION_OF_TEXT, Rel("xdp", 0, ""))
    assert obj.programs["main"].function.relocs == (CallRef(0, 2),)


def test_call_inside_text_needs_no_relocation() -> None:
    obj = opened(b"", *text(RETURN_0, call(-3) + RETURN_0))
    assert obj.subprograms[2].relocs == (CallRef(0, 0),)


def test_address_of_a_function_adds_symbol_and_immediate_in_bytes() -> None:
    by_symbol = opened(load(0), *text(RETURN_0, RETURN_0), Rel("xdp", 0, "f1"))
    by_section = opened(load(16), *text(RETURN_0, RETURN_0), SECTION_OF_TEXT, Rel("xdp", 0, ""))
    assert by_symbol.programs["main"].function.relocs == (FuncRef(0, 2),)
    assert by_section.programs["main"].function.relocs == (FuncRef(0, 2),)


def test_global_and_static_variables_are_found_alike() -> None:
    variable = Sym("v", ".data", 8, 4, SymType.OBJECT)
    by_symbol = opened(load(4), Sec(".data", bytes(16)), variable, Rel("xdp", 0, "v"))
    by_section = opened(load(12), Sec(".data", bytes(16)), SECTION_OF_DATA, Rel("xdp", 0, ""))
    assert by_symbol.programs["main"].function.relocs == (DataRef(0, "t.data", 12),)
    assert by_section.programs["main"].function.relocs == (DataRef(0, "t.data", 12),)


def test_relocations_count_from_their_function() -> None:
    section, first = program("first", insns=RETURN_0)
    code = Sec(section.name, RETURN_0 + call(-1) + RETURN_0, flags=SHF_EXECINSTR)
    second = Sym("second", "xdp", 16, 24, SymType.FUNC)
    obj = open_object(object_of(code, first, second, *text(RETURN_0), Rel("xdp", 16, "f0")).build(), name="t.o")
    assert obj.programs["first"].function.relocs == ()
    assert obj.programs["second"].function.relocs == (CallRef(0, 0),)


def test_code_of_no_function_is_passed_over() -> None:
    section, main = program("main", insns=RETURN_0)
    code = Sec(section.name, RETURN_0 + load(0) + RETURN_0, flags=SHF_EXECINSTR)
    stray = Rel("xdp", 16, "main")
    assert open_object(object_of(code, main, stray).build(), name="t.o").programs["main"].function.relocs == ()


def test_hidden_and_static_functions_of_text_become_static() -> None:
    hidden = Sym("hid", ".text", 0, 16, SymType.FUNC, SymBind.GLOBAL, SymVisibility.HIDDEN)
    local = Sym("loc", ".text", 16, 16, SymType.FUNC, SymBind.LOCAL)
    plain = Sym("glob", ".text", 32, 16, SymType.FUNC, SymBind.WEAK)
    obj = opened(b"", Sec(".text", RETURN_0 * 3, flags=SHF_EXECINSTR), hidden, local, plain)
    assert {f.name: f.static_linkage for f in obj.subprograms.values()} == {"hid": True, "loc": True, "glob": False}


@pytest.mark.parametrize(
    ("insns", "parts", "reason"),
    [
        (RETURN_0, [*text(RETURN_0), Rel("xdp", 0, "f0")], "symbol 'f0': opcode 0xb7 cannot be relocated"),
        (call(-1, 0), [*text(RETURN_0), Rel("xdp", 0, "f0")], "has src_reg 0, want 1"),
        (call(-1), [Rel("xdp", 0, "main")], "callee lies in section 'xdp', want .text"),
        (call(0), [*text(RETURN_0), Rel("xdp", 0, "f0")], "instruction 1 of .text, where no function starts"),
        (call(0), [], "calls into its own section 'xdp'"),
        (load(0, 4), [], "loads a function's address without a relocation"),
        (load(4), [*text(RETURN_0), Rel("xdp", 0, "f0")], "function address 0+4 is no multiple of 8"),
        (load(0), [Sym("gone", 0xFFF1, bind=SymBind.GLOBAL), Rel("xdp", 0, "gone")], "in special section 0xfff1"),
        (load(0), [Sym("far", 0x1234), Rel("xdp", 0, "far")], "in special section 0x1234"),
        (load(0), [Rel("xdp", 0, "main")], "refers to section 'xdp', which holds neither maps nor data"),
        (load(0), [Sym("s", "license", 0, 4), Rel("xdp", 0, "s")], "section 'license', which holds neither"),
    ],
)
def test_reference_that_cannot_be_settled_is_refused(insns: bytes, parts: list[Sec | Sym | Rel], reason: str) -> None:
    message = refused(insns, *parts)
    assert reason in message
    assert message.startswith("object 't.o': function 'main': insn #0")


def test_load_cut_in_half_and_two_relocations_are_refused() -> None:
    parts = object_of(program("main", insns=load(0)[:8]), Sec(".data", bytes(8)), SECTION_OF_DATA, Rel("xdp", 0, ""))
    with pytest.raises(RelocationError, match="cut off after its first half"):
        open_object(parts.build(), name="t.o")
    assert "instruction 0 has two relocations" in refused(
        load(0), Sec(".data", bytes(8)), SECTION_OF_DATA, Rel("xdp", 0, ""), Rel("xdp", 0, "")
    )


def test_data_reference_beyond_32_bits_is_refused() -> None:
    symbol = Sym("v", ".data", 1 << 40, 4, SymType.OBJECT)
    assert "refers to byte 1099511627776 of section '.data'" in refused(
        load(0), Sec(".data", bytes(8)), symbol, Rel("xdp", 0, "v")
    )


def test_relocations_with_addends_are_not_looked_at() -> None:
    rela = Sec(".relaxdp", bytes(24), SectionType.RELA, info=1, entsize=24)
    assert opened(RETURN_0, rela).programs["main"].function.relocs == ()


def test_two_text_sections_are_refused() -> None:
    with pytest.raises(Exception, match=r"two sections are named '\.text'"):
        opened(b"", *text(RETURN_0), Sec(".text", RETURN_0, flags=SHF_EXECINSTR))


def test_more_calls_than_are_settled_are_refused() -> None:
    calls = [call(-slot - 1) for slot in range(2, 6)]  # of f0
    for functions, reason in (
        ((b"".join(calls),), "function 'f1' has too many calls and references, at most 3 are taken"),
        (calls, "functions have too many calls and references together, at most 3"),
    ):
        raw = object_of(program("main"), *text(RETURN_0, *functions)).build()
        assert open_object(raw, name="t.o", limits=Limits(relocations=4)).subprograms
        with pytest.raises(LimitError, match=reason):
            open_object(raw, name="t.o", limits=Limits(relocations=3))


def test_data_sections_that_overlap_are_refused() -> None:
    sections = [Sec(f".data.{number}", offset=64, size=400) for number in range(8)]
    with pytest.raises(LimitError, match="data sections overlap: together they are longer than the file"):
        opened(b"", *sections)

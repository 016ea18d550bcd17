"""ELF containers: what is taken, and every malformed file refused with a reason."""

import re
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.elf import Elf, Rel, Sec, Sym, object_of, program
from xdploaderd.errors import LimitError, LoaderError, ObjectError
from xdploaderd.limits import Limits
from xdploaderd.obj.elf import ElfImage, SymBind, SymType, SymVisibility
from xdploaderd.obj.elf_sections import SHF_COMPRESSED, SectionType
from xdploaderd.obj.open import open_object

BPF = Path(__file__).parents[2] / "bpf"
GOOD = object_of(program("main"))


def parse(elf: Elf) -> ElfImage:
    return ElfImage.parse(elf.build(), name="t.o")


def refusal(raw: bytes) -> str:
    """Return the text of the refusal, which must come soon, and before anything is read beyond the file."""
    begin = time.monotonic()
    with pytest.raises(LoaderError) as caught:
        open_object(raw, name="t.o")
    assert time.monotonic() - begin < 1
    assert caught.value.place[0] == "object 't.o'"
    return str(caught.value)


def test_sections_and_symbols_are_read() -> None:
    image = parse(object_of(program("main"), Sym("hid", "xdp", 8, 8, SymType.FUNC, SymBind.WEAK, SymVisibility.HIDDEN)))
    assert [section.name for section in image.sections][:3] == ["", "xdp", "license"]
    hidden = image.symbols[2]
    assert (hidden.name, hidden.value, hidden.bind, hidden.is_hidden()) == ("hid", 8, SymBind.WEAK, True)


def test_machine_none_is_accepted() -> None:
    assert open_object(replace(GOOD, header={"machine": 0}).build(), name="t.o").programs


def test_big_endian_container_is_read() -> None:
    image = parse(replace(GOOD, byteorder="big"))
    assert image.byteorder == "big"
    assert image.symbols[1].name == "main"


@pytest.mark.parametrize("raw", [b"", b"\x7fELF", b"\x7fELF" + bytes(59), b"hello, world\n" * 20])
def test_what_is_no_elf_file_is_refused(raw: bytes) -> None:
    assert "ELF" in refusal(raw)


@pytest.mark.parametrize("cut", [1, 64, 100, 200, 400])
def test_truncated_file_is_refused(cut: int) -> None:
    raw = (BPF / "xdp_count.bpf.o").read_bytes()
    assert "section headers reach to byte" in refusal(raw[:-cut])
    assert "section headers reach to byte" in refusal(raw[: len(raw) // 2])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("class", 1, "32-bit"),
        ("data", 3, "ELF file"),
        ("type", 2, "ET_EXEC, want a relocatable object"),
        ("machine", 62, "machine EM_X86_64, want EM_BPF"),
        ("machine", 999, "machine 999, want EM_BPF"),
        ("shoff", 1 << 40, "section headers reach to byte"),
        ("shoff", 1 << 63, "section headers reach to byte"),
        ("shoff", 0, "section 5, which holds no strings"),
        ("shnum", 0xFFF0, "65520 sections, at most 4096"),
        ("shnum", 0, "section headers reach"),
        ("shstrndx", 999, "section 999, which holds no strings"),
        ("shstrndx", 1, "section 1, which holds no strings"),
        ("shentsize", 10, "headers of 10 bytes, want 64"),
        ("shentsize", 0, "headers of 0 bytes, want 64"),
    ],
)
def test_malformed_header_is_refused(field: str, value: int, reason: str) -> None:
    assert reason in refusal(replace(GOOD, header={field: value}).build())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": 1 << 40}, "reaches to byte"),
        ({"size": 1 << 63}, "reaches to byte"),
        ({"offset": 1 << 63}, "reaches to byte"),
        ({"offset": (1 << 64) - 1, "size": 2}, "reaches to byte"),
        ({"link": 999}, "in section 999, which holds no strings"),
        ({"entsize": 0}, "entries of 0 bytes, want 24"),
        ({"entsize": 23}, "entries of 23 bytes, want 24"),
        ({"size": 25}, "25 bytes has entries of 24 bytes, want 24"),
    ],
)
def test_malformed_symbol_table_is_refused(changes: dict[str, int], reason: str) -> None:
    assert reason in refusal(replace(GOOD, symtab=changes).build())


def test_stripped_file_and_two_symbol_tables_are_refused() -> None:
    assert "no symbol table; was the file stripped?" in refusal(replace(GOOD, symtab={"type": 1}).build())
    second = Sec(".more", bytes(24), SectionType.SYMTAB, link=1, entsize=24)
    assert "2 symbol tables" in refusal(object_of(program("main"), second).build())


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (Sec(".relx", bytes(24), SectionType.REL, info=1, entsize=24), "entries of 24 bytes, want 16"),
        (Sec(".relx", bytes(15), SectionType.REL, info=1, entsize=16), "15 bytes has entries of 16 bytes, want 16"),
        (Sec(".relx", bytes(16), SectionType.REL, info=99, entsize=16), "relocates section 99 of"),
    ],
)
def test_malformed_relocation_table_is_refused(table: Sec, reason: str) -> None:
    assert reason in refusal(object_of(program("main"), table).build())


@pytest.mark.parametrize(
    ("reloc", "reason"),
    [
        (Rel("xdp", 4, "main"), "relo #0 of section 'xdp': offset 0x4 is no instruction"),
        (Rel("xdp", 16, "main"), "offset 0x10 is no instruction of 16 bytes of code"),
        (Rel("xdp", 1 << 63, "main"), "offset 0x8000000000000000 is no instruction"),
        (Rel("xdp", 0, 77), "relo #0 of '.relxdp' names symbol 77 of 2"),
    ],
)
def test_malformed_relocation_is_refused_by_its_number(reloc: Rel, reason: str) -> None:
    assert reason in refusal(object_of(program("main"), reloc).build())


def test_names_outside_their_table_or_without_end_are_refused() -> None:
    raw = bytearray(GOOD.build())
    (shoff,) = struct.unpack_from("<Q", raw, 40)
    struct.pack_into("<I", raw, shoff + 64, 0xFFFFFF)
    assert "name at offset 16777215 of a string table" in refusal(bytes(raw))
    assert "does not end within 1024 bytes" in refusal(object_of(program("m" * 2000)).build())


def test_name_of_a_label_that_nobody_refers_to_is_checked_too() -> None:
    long = object_of(program("main"), Sym("l" * 2000, "xdp", 8, bind=SymBind.LOCAL))
    assert "does not end within 1024 bytes" in refusal(long.build())
    fits = object_of(program("main"), *(Sym(f"{n:04}" + "l" * 1020, "xdp", 8, bind=SymBind.LOCAL) for n in range(9)))
    image = ElfImage.parse(fits.build(), name="t.o")
    assert {len(symbol.name) for symbol in image.symbols if symbol.is_local() and symbol.name} == {1024}
    raw = bytearray(fits.build())
    (symbols,) = (section for section in image.sections if section.type == SectionType.SYMTAB)
    at = raw.index(symbols.view) + 24
    struct.pack_into("<I", raw, at, 0xFFFFFF)
    assert "name at offset 16777215 of a string table" in refusal(bytes(raw))


def test_symbols_are_told_by_section_and_type() -> None:
    label = Sym("label", "xdp", 8, bind=SymBind.LOCAL)
    image = ElfImage.parse(object_of(program("main"), label, Sym("extern", 0)).build(), name="t.o")
    code = image.program_sections()[0]
    assert {symbol.name for symbol in image.symbols_in(code)} == {"label", "main"}
    assert [symbol.name for symbol in image.functions_in(code)] == ["main"]
    assert "extern" in [symbol.name for symbol in image.undefined_symbols()]
    assert [symbol.number for symbol in image.symbols] == list(range(len(image.symbols)))
    with pytest.raises(IndexError):
        image.symbols[len(image.symbols)]


def test_names_that_are_no_text_are_shown_escaped() -> None:
    raw = GOOD.build().replace(b"main\0", b"m\xff\x1bn\0")
    assert list(open_object(raw, name="t.o").programs) == ["m\\xff\\x1bn"]
    assert list(open_object(raw.replace(b"\xff", b"\n"), name="t.o").programs) == ["m\\x0a\\x1bn"]


def test_compressed_section_is_refused_when_its_bytes_are_needed() -> None:
    assert "section 'xdp' is compressed" in refusal(GOOD.with_section("xdp", flags=4 | SHF_COMPRESSED).build())
    debug = object_of(program("main"), Sec(".debug_info", b"\0" * 24, flags=SHF_COMPRESSED))
    assert open_object(debug.build(), name="t.o").programs


def test_two_gigabytes_of_nobits_are_refused_without_being_made() -> None:
    bss = Sec(".bss", type=SectionType.NOBITS, size=2 << 30)
    assert "global data of 2147483648 bytes ('.bss' has 2147483648)" in refusal(object_of(program("main"), bss).build())
    elsewhere = Sec(".note", type=SectionType.NOBITS, size=1 << 62)
    assert open_object(object_of(program("main"), elsewhere).build(), name="t.o").programs


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(file_size=100), "at most 100 are read"),
        (Limits(sections=3), "at most 3 are read"),
        (Limits(symbols=1), "2 symbols, at most 1"),
        (Limits(name_bytes=3), "names of too many bytes together, at most 3 are taken (limit name_bytes)"),
        (Limits(relocations=0), "too many relocations, at most 0 are taken"),
        (Limits(instructions=1), "function of 2 instructions, at most 1"),
        (Limits(programs=0), "1 programs, at most 0"),
        (Limits(data_bytes=3), "global data of 4 bytes"),
        (Limits(maps=0), "1 maps, at most 0"),
    ],
)
def test_each_limit_is_kept(limits: Limits, reason: str) -> None:
    elf = object_of(program("main"), Sec(".data", bytes(4)), Rel("license", 0, 0))
    with pytest.raises(LimitError, match=re.escape(reason)):
        open_object(elf.build(), name="t.o", limits=limits)


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        (Sym("p", "xdp", 8, 16, SymType.FUNC), "reaches to byte 24 of section 'xdp' of 16 bytes"),
        (Sym("p", "xdp", (1 << 64) - 8, 16, SymType.FUNC), "reaches to byte"),
        (Sym("p", "xdp", 0, 12, SymType.FUNC), "has 12 bytes, want a positive multiple of 8"),
        (Sym("p", "xdp", 4, 8, SymType.FUNC), "at byte 4"),
        (Sym("p", "xdp", 0, 0, SymType.FUNC), "has 0 bytes"),
        (Sym("p", "xdp", 0, 16, SymType.FUNC, SymBind.LOCAL), "'p' of section 'xdp' is static, want a global one"),
        (Sym("main", "xdp", 0, 16, SymType.FUNC), "two programs are named 'main'"),
    ],
)
def test_program_that_does_not_fit_its_section_is_refused(symbol: Sym, reason: str) -> None:
    assert reason in refusal(object_of(program("main"), symbol).build())


def test_functions_that_overlap_without_end_are_refused() -> None:
    section, symbol = program("main", insns=bytes(8 * 4096))
    copies = [replace(symbol, name=f"p{number}") for number in range(40)]
    assert "functions overlap" in refusal(object_of(section, *copies).build())


def test_two_functions_of_a_section_are_two_programs_in_offset_order() -> None:
    section, _ = program("", insns=program("")[0].data * 2)
    parts = (section, Sym("late", "xdp", 16, 16, SymType.FUNC), Sym("early", "xdp", 0, 16, SymType.FUNC))
    obj = open_object(object_of(*parts).build(), name="t.o")
    assert [(p.name, p.function.insn_off) for p in obj.programs.values()] == [("early", 0), ("late", 2)]


def test_license_is_cut_at_63_bytes_and_ends_at_nul_or_section() -> None:
    def license_of(data: bytes) -> str:
        return open_object(GOOD.with_section("license", data=data).build(), name="t.o").license

    assert license_of(b"GPL") == "GPL"
    assert license_of(b"Dual\0GPL\0") == "Dual"
    assert license_of(b"x" * 100) == "x" * 63
    assert (
        open_object(Elf(sections=(program("main")[0],), symbols=(program("main")[1],)).build(), name="t").license == ""
    )


def test_version_section_has_four_bytes() -> None:
    version = Sec("version", (0x060C00).to_bytes(4, "little"))
    assert open_object(object_of(program("main"), version).build(), name="t.o").kern_version == 0x060C00
    assert "'version' has 3 bytes, want 4" in refusal(object_of(program("main"), Sec("version", b"abc")).build())


def test_file_size_limit_is_an_object_error() -> None:
    with pytest.raises(ObjectError):
        ElfImage.parse(bytes(17 << 20), name="big.o")

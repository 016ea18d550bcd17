"""Instructions, ELF objects and .BTF.ext: what is written in memory is read back the same, in either byte order."""

import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.elf import Elf, Rel, Sec, Sym
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, FuncInfo, LineInfo, parse_btf_ext
from xdploaderd.insn import INSN_SIZE, Insn, decode_insn, encode_insn, encode_insns, iter_insns, put_insn
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import SHF_EXECINSTR
from xdploaderd.obj.functions import native_insns

pytestmark = pytest.mark.property

ORDERS = st.sampled_from(["little", "big"])
NIBBLE = st.integers(0, 15)
U32 = st.integers(0, 0xFFFFFFFF)
U64 = st.integers(0, (1 << 64) - 1)
INSNS = st.builds(
    Insn,
    st.integers(0, 255),
    NIBBLE,
    NIBBLE,
    st.integers(-(1 << 15), (1 << 15) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "Nd", "Pc")), min_size=1, max_size=8)
NUMBERS = st.integers(0, 3)


@given(st.lists(INSNS, max_size=8), ORDERS)
def test_instructions_decode_to_what_was_encoded(insns: list[Insn], byteorder: str) -> None:
    raw = encode_insns(insns, byteorder)
    assert len(raw) == INSN_SIZE * len(insns)
    assert list(iter_insns(raw, byteorder)) == insns


@given(st.binary(min_size=INSN_SIZE, max_size=INSN_SIZE), ORDERS)
def test_any_eight_bytes_are_an_instruction_that_encodes_to_them(raw: bytes, byteorder: str) -> None:
    assert encode_insn(decode_insn(raw, 0, byteorder), byteorder) == raw


@given(st.lists(INSNS, max_size=8))
def test_code_of_the_other_byte_order_becomes_that_of_this_machine(insns: list[Insn]) -> None:
    for byteorder in ("little", "big"):
        assert native_insns(encode_insns(insns, byteorder), byteorder) == encode_insns(insns, sys.byteorder)


@given(st.lists(INSNS, min_size=1, max_size=8), INSNS, st.data())
def test_written_instruction_replaces_its_slot_alone(insns: list[Insn], insn: Insn, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, len(insns) - 1))
    raw = bytearray(encode_insns(insns))
    put_insn(raw, slot, insn)
    assert list(iter_insns(raw)) == [*insns[:slot], insn, *insns[slot + 1 :]]


SYMBOLS = st.lists(
    st.builds(Sym, NAMES, NUMBERS, U64, U64, st.integers(0, 15), st.integers(0, 15), st.integers(0, 3)), max_size=6
)
SECTIONS = st.lists(
    st.builds(Sec, NAMES, st.binary(max_size=20), st.just(1), st.sampled_from([0, 1, 2, 3, SHF_EXECINSTR])),
    min_size=3,
    max_size=6,
)


@settings(max_examples=150)
@given(SECTIONS, SYMBOLS, st.lists(st.tuples(U64, U32), max_size=5), ORDERS)
def test_object_is_read_back_as_it_was_built(
    sections: list[Sec], symbols: list[Sym], places: list[tuple[int, int]], byteorder: str
) -> None:
    relocs = tuple(Rel(sections[0].name, at, number % (len(symbols) + 1), number & 0xFF) for at, number in places)
    elf = Elf(tuple(sections), tuple(symbols), relocs, byteorder)
    image = ElfImage.parse(elf.build(), name="x.o")
    assert image.byteorder == byteorder
    there = [image.symbols[number] for number in range(1, len(symbols) + 1)]
    read = image.sections[1 : len(sections) + 1]
    assert [(s.name, bytes(s.data()), s.type, s.flags) for s in read] == [
        (s.name, s.data, s.type, s.flags) for s in sections
    ]
    assert [(s.name, s.section, s.value, s.size, s.type, s.bind, s.visibility) for s in there] == [
        (s.name, s.section, s.value, s.size, s.type, s.bind, s.visibility) for s in symbols
    ]
    assert [(r.offset, r.symbol, r.type) for r in image.relocs(read[0])] == [
        (r.offset, r.symbol, r.type) for r in relocs
    ]


def _records(byteorder: str, tables: tuple[list[tuple[int, ...]], ...], section: int) -> bytes:
    order = "<" if byteorder == "little" else ">"
    body, areas = b"", []
    for rows, width in zip(tables, (2, 4, 4), strict=True):
        packed = b"".join(struct.pack(f"{order}{width}I", *row) for row in rows)
        table = struct.pack(f"{order}III", 4 * width, section, len(rows)) + packed if rows else b""
        areas += [len(body), len(table)]
        body += table
    return struct.pack(f"{order}HBBI6I", 0xEB9F, 1, 0, 32, *areas) + body


@given(
    st.lists(st.tuples(U32, U32), max_size=4),
    st.lists(st.tuples(U32, U32, U32, U32), max_size=4),
    st.lists(st.tuples(U32, U32, NAMES, U32), max_size=4),
    ORDERS,
)
def test_records_of_btf_ext_are_read_back(
    funcs: list[tuple[int, int]],
    lines: list[tuple[int, int, int, int]],
    relos: list[tuple[int, int, str, int]],
    byteorder: str,
) -> None:
    builder = BtfBuilder()
    section = builder.add_string("xdp")
    core = [(at, type_id, builder.add_string(access), kind) for at, type_id, access, kind in relos]
    btf = Btf.parse(builder.encode(byteorder), name="x.o")
    raw = _records(byteorder, (list(funcs), list(lines), list(core)), section)
    ext = parse_btf_ext(raw + bytes(not raw[32:]), btf)
    assert list(ext.func_infos.get("xdp", ())) == [FuncInfo(*row) for row in funcs]
    assert list(ext.line_infos.get("xdp", ())) == [LineInfo(*row) for row in lines]
    assert list(ext.core_relos.get("xdp", ())) == [CoreRelo(*row) for row in relos]

"""Objects that no compiler makes, for the target elf: lying headers, tables without end, references to everything."""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from tests.builders.elf import RETURN_0, Rel, Sec, Sym, object_of, program
from xdploaderd.insn import CALL, EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.elf import SymType
from xdploaderd.obj.elf_sections import SHF_COMPRESSED, SHF_EXECINSTR, SectionType

MAIN = program("main")
MIB = 1 << 20
HUGE = (1 << 31, 1 << 32, (1 << 63) - 8, 1 << 63, (1 << 64) - 8, (1 << 64) - 1)
CALL_BY_RELOCATION = Insn(CALL, 0, 1, 0, -1)
LOAD = (Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 0))
_LEAVE = Insn(EXIT, 0, 0, 0, 0)


def code(*insns: Insn) -> bytes:
    """Return a program's bytes, ended."""
    return encode_insns((*insns, _LEAVE), "little")


def _patched(at: int, layout: str, *values: int) -> bytes:
    raw = bytearray(object_of(MAIN).build())
    struct.pack_into(layout, raw, at, *values)
    return bytes(raw)


def _section_fields() -> Mapping[str, Callable[[], bytes]]:
    """Every field of the headers of every section, with sizes near the ends of 32 and 64 bits."""

    def make(number: int, place: int, value: int) -> bytes:
        raw = bytearray(object_of(MAIN, Sec(".rodata", b"x" * 16), Rel("xdp", 0, "main")).build())
        (headers,) = struct.unpack_from("<Q", raw, 40)
        struct.pack_into("<Q", raw, headers + 64 * number + place, value)
        return bytes(raw)

    return {
        f"section {number}: field at {place} is {value:#x}": lambda n=number, p=place, v=value: make(n, p, v)  # type: ignore[misc]
        for number in range(8)
        for place in (8, 24, 32, 56)
        for value in HUGE
    }


def _calls(targets: Iterable[Iterable[int]]) -> bytes:
    """Return an object whose program calls function 0 of .text; function n calls those in `targets`, in order."""
    called = [list(numbers) for numbers in targets]
    starts, at = [], 0
    for numbers in called:
        starts.append(at)
        at += len(numbers) + 1
    insns: list[Insn] = []
    for numbers in called:
        insns += [Insn(CALL, 0, 1, 0, starts[number] - (len(insns) + k) - 1) for k, number in enumerate(numbers)]
        insns.append(_LEAVE)
    symbols: list[Sym] = [
        Sym(f"f{number}", ".text", start * 8, (len(called[number]) + 1) * 8, SymType.FUNC)
        for number, start in enumerate(starts)
    ]
    text = Sec(".text", encode_insns(insns, "little"), flags=SHF_EXECINSTR)
    return object_of(program("main", insns=code(CALL_BY_RELOCATION)), text, *symbols, Rel("xdp", 0, "f0", 10)).build()


def _symbols(count: int, **changes: int) -> bytes:
    symbols = [Sym(f"s{number}", "xdp", 0, 16, **changes) for number in range(count)]
    return object_of(MAIN, *symbols).build()


def _everything() -> bytes:
    """Return an object with relocations of a load against each symbol, section and special index."""
    places: list[str | int] = [
        "xdp",
        ".rodata",
        ".bss",
        ".maps",
        ".data",
        "license",
        0,
        0xFFF1,
        0xFFF2,
        0xFFFF,
        0xFF00,
        99,
    ]
    symbols = [Sym(f"s{n}-{kind}", place, n, 4, kind) for n, place in enumerate(places) for kind in range(7)]
    insns = code(*(LOAD * len(symbols)))
    relocs = [Rel("xdp", 16 * number, symbol.name, 1) for number, symbol in enumerate(symbols)]
    data = [Sec(".rodata", b"r" * 64), Sec(".data", b"d" * 64), Sec(".maps", bytes(64)), Sec(".bss", type=8, size=64)]
    return object_of(program("main", insns=insns), *data, *symbols, *relocs).build()


def _each_reloc(symbol: Sym, insn: tuple[Insn, ...], kind: int = 1) -> bytes:
    parts: list[Sec | Sym | Rel] = [Sec(".rodata", b"r" * 16), Sec(".data", b"d" * 16)]
    parts += [symbol, Rel("xdp", 0, symbol.name, kind)]
    return object_of(program("main", insns=code(*insn)), *parts).build()


def _calls_to(distance: int) -> bytes:
    text = Sec(".text", code(Insn(CALL, 0, 1, 0, distance)), flags=SHF_EXECINSTR)
    main = program("main", insns=code(CALL_BY_RELOCATION))
    return object_of(main, text, Sym("f", ".text", 0, 16, SymType.FUNC), Rel("xdp", 0, "f", 10)).build()


def _shared_subprogram(programs: int, insns: int) -> bytes:
    text = Sec(".text", code(*[Insn(0xB7, 0, 0, 0, 0)] * insns), flags=SHF_EXECINSTR)
    entries = [program(f"p{n}", f"xdp/{n}", code(CALL_BY_RELOCATION)) for n in range(programs)]
    relocs = [Rel(f"xdp/{n}", 0, "f", 10) for n in range(programs)]
    return object_of(*entries, text, Sym("f", ".text", 0, 8 * (insns + 1), SymType.FUNC), *relocs).build()


HEADERS: Mapping[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "magic only": lambda: b"\x7fELF",
    "a header only": lambda: object_of(MAIN).build()[:64],
    "section headers at 2^64-1": lambda: _patched(40, "<Q", (1 << 64) - 1),
    "section headers at 2^63": lambda: _patched(40, "<Q", 1 << 63),
    "section headers over the header": lambda: _patched(40, "<Q", 0),
    "65,535 section headers": lambda: _patched(60, "<H", 0xFFFF),
    "no section headers": lambda: _patched(60, "<H", 0),
    "section headers of 0 bytes": lambda: _patched(58, "<H", 0),
    "section names in section 65,535": lambda: _patched(62, "<H", 0xFFFF),
    "section names in section 0": lambda: _patched(62, "<H", 0),
    "section names in code": lambda: _patched(62, "<H", 1),
    "16 MiB and one byte": lambda: object_of(MAIN).build() + bytes(16 * MIB),
    "16 MiB": lambda: object_of(MAIN).build().ljust(16 * MIB, b"\0"),
    "4,000 sections": lambda: object_of(MAIN, *(Sec(f"s{n}") for n in range(4000))).build(),
    "4,000 program sections": lambda: object_of(*(program(f"p{n}", f"xdp/{n}") for n in range(4000))).build(),
    "512 programs of one name": lambda: object_of(*(program("p", f"xdp/{n}") for n in range(512))).build(),
    "4,000 sections of one name": lambda: object_of(MAIN, *(Sec(".rodata", b"x") for _ in range(4000))).build(),
    "symbol table as its own names": lambda: replace(object_of(MAIN), symtab={"link": 4}).build(),
    "symbol names in a section that is not there": lambda: replace(
        object_of(MAIN), symtab={"link": 0xFFFFFFFF}
    ).build(),
    "symbol entries of 0 bytes": lambda: replace(object_of(MAIN), symtab={"entsize": 0}).build(),
    "compressed code": lambda: object_of(MAIN).with_section("xdp", flags=SHF_EXECINSTR | SHF_COMPRESSED).build(),
    "compressed BTF": lambda: object_of(MAIN, Sec(".BTF", bytes(64), flags=SHF_COMPRESSED)).build(),
    "compressed data": lambda: object_of(MAIN, Sec(".data", bytes(64), flags=SHF_COMPRESSED)).build(),
    "compressed debug data of 2^40": lambda: object_of(
        MAIN, Sec(".debug_info", struct.pack("<IIQQ", 1, 0, 1 << 40, 1) + bytes(64), flags=SHF_COMPRESSED)
    ).build(),
    "NOBITS of 2 GiB": lambda: object_of(MAIN, Sec(".bss", type=8, size=2 << 30)).build(),
    "NOBITS of 2^63": lambda: object_of(MAIN, Sec(".bss", type=8, size=1 << 63)).build(),
    "NOBITS of 256 MiB": lambda: object_of(MAIN, Sec(".bss", type=8, size=256 << 20)).build(),
    "100 NOBITS of 200 MiB": lambda: object_of(
        MAIN, *(Sec(f".bss.{n}", type=8, size=200 << 20) for n in range(100))
    ).build(),
    "NOBITS code": lambda: object_of(MAIN).with_section("xdp", type=8).build(),
    "NOBITS BTF": lambda: object_of(MAIN, Sec(".BTF", type=8, size=1 << 30)).build(),
    "NOBITS license": lambda: object_of(MAIN, Sec("version", type=8, size=1 << 40)).build(),
    "NOBITS maps": lambda: object_of(MAIN, Sec("maps", type=8, size=1 << 40), Sym("m", "maps", 0, 28, 1)).build(),
    "sections that overlap": lambda: object_of(
        MAIN, *(Sec(f".data.{n}", type=1, offset=0, size=400) for n in range(200))
    ).build(),
    "2,000 data sections of the whole file": lambda: object_of(
        MAIN, Sec("pad", bytes(MIB)), *(Sec(f".data.{n}", offset=0, size=MIB) for n in range(2000))
    ).build(),
    "200 data sections of the whole file": lambda: object_of(
        MAIN, Sec("pad", bytes(MIB)), *(Sec(f".data.{n}", offset=0, size=MIB) for n in range(200))
    ).build(),
    "200 code sections of the whole file": lambda: object_of(
        MAIN, Sec("pad", bytes(MIB)), *(Sec(f"xdp/{n}", flags=4, offset=0, size=MIB) for n in range(200))
    ).build(),
    "names that overlap": lambda: _symbols(60_000).replace(b"s1\0", b"s1x"),
    "names of no text": lambda: object_of(program("é\u202e\u0001")).build(),
}

TABLES: Mapping[str, Callable[[], bytes]] = {
    "65,535 symbols": lambda: _symbols(65_000),
    "70,000 symbols": lambda: _symbols(70_000),
    "60,000 functions at one place": lambda: _symbols(60_000, type=SymType.FUNC),
    "60,000 hidden functions": lambda: _symbols(60_000, type=SymType.FUNC, visibility=2),
    "60,000 externs": lambda: object_of(MAIN, *(Sym(f"e{n}", 0) for n in range(60_000))).build(),
    "symbols at odd places": lambda: object_of(
        MAIN, *(Sym(f"f{n}", "xdp", value, size, SymType.FUNC) for n, (value, size) in enumerate([(7, 8), (8, 1)]))
    ).build(),
    "a function of 2^64-8 bytes": lambda: object_of(MAIN, Sym("f", "xdp", 8, (1 << 64) - 8, SymType.FUNC)).build(),
    "a function at 2^64-8": lambda: object_of(MAIN, Sym("f", "xdp", (1 << 64) - 8, 16, SymType.FUNC)).build(),
    "a function behind the end": lambda: object_of(MAIN, Sym("f", "xdp", 1 << 40, 8, SymType.FUNC)).build(),
    "unknown bindings and types": lambda: object_of(
        MAIN, *(Sym(f"s{n}", "xdp", 0, 8, n % 16, n // 16, n % 4) for n in range(256))
    ).build(),
    "relocations against everything": _everything,
    "relocations of every type": lambda: object_of(
        program("main", insns=code(*(LOAD * 64))), *(Rel("xdp", 16 * n, "main", n) for n in range(64))
    ).build(),
    "a relocation of symbol 2^32-1": lambda: object_of(MAIN, Rel("xdp", 0, 0xFFFFFFFF)).build(),
    "a relocation at 2^64-8": lambda: object_of(MAIN, Rel("xdp", (1 << 64) - 8, "main")).build(),
    "a relocation at an odd place": lambda: object_of(MAIN, Rel("xdp", 3, "main")).build(),
    "two relocations at one place": lambda: object_of(MAIN, Rel("xdp", 0, "main"), Rel("xdp", 0, "main")).build(),
    "100,000 relocations": lambda: object_of(
        program("main", insns=code(*(LOAD * 100_000))), *(Rel("xdp", 16 * n, "main") for n in range(100_000))
    ).build(),
    "relocations of relocations": lambda: object_of(
        MAIN, Rel("xdp", 0, "main"), Sec(".relx", bytes(32), SectionType.REL, info=4, entsize=16)
    ).build(),
    "1,000 relocation tables of one section": lambda: object_of(
        MAIN,
        *(Sec(f".r{n}", struct.pack("<QQ", 0, 1 << 32), SectionType.REL, info=1, entsize=16) for n in range(1000)),
    ).build(),
    "a load cut off": lambda: object_of(
        program("main", insns=encode_insns(LOAD[:1], "little")), Rel("xdp", 0, "main")
    ).build(),
    "data at 2^63": lambda: _each_reloc(Sym("d", ".data", 1 << 63, 8, SymType.OBJECT), LOAD),
    "data at 2^64-1": lambda: _each_reloc(Sym("d", ".data", (1 << 64) - 1, 8, SymType.OBJECT), LOAD),
    "a call of data": lambda: _each_reloc(Sym("d", ".data", 0, 8, SymType.OBJECT), (CALL_BY_RELOCATION,), 10),
    "a call of an undefined symbol": lambda: _each_reloc(Sym("u", 0), (CALL_BY_RELOCATION,), 10),
    "a million instructions": lambda: object_of(program("main", insns=RETURN_0 * 500_000)).build(),
    "a million calls": lambda: object_of(program("main", insns=code(*[Insn(CALL, 0, 1, 0, -1)] * 999_000))).build(),
    "990,000 calls inside of .text": lambda: _calls([[0] * 990_000]),
    "65,000 calls inside of .text": lambda: _calls([[0] * 65_000]),
    "a million loads of functions": lambda: object_of(
        program("main", insns=code(*[Insn(LD_IMM64, 0, 4, 0, 0)] * 999_000))
    ).build(),
    "a subprogram that calls itself": lambda: _calls([[0]]),
    "subprograms that call each other": lambda: _calls([[1], [2], [0]]),
    "5,000 subprograms in a chain": lambda: _calls([*([n + 1] for n in range(5000)), []]),
    "250 subprograms that call all": lambda: _calls([list(range(250))] * 250),
    "a call before the start": lambda: _calls_to(-100_000),
    "a call behind the end": lambda: _calls_to(100_000),
    "500 programs with 10,000 instructions of subprograms": lambda: _shared_subprogram(500, 20_000),
    "a tail-call section of 2^64": lambda: object_of(
        program("t", f"{1 << 64}/{1 << 64}"), Sec("maps", bytes(36)), Sym("m", "maps", 0, 36, 1)
    ).build(),
    "legacy maps without symbols": lambda: object_of(MAIN, Sec("maps", bytes(36 * 100))).build(),
    "legacy maps that overlap": lambda: object_of(
        MAIN, Sec("maps", bytes(400)), *(Sym(f"m{n}", "maps", n, 36, 1) for n in range(300))
    ).build(),
    "60,000 legacy maps": lambda: object_of(
        MAIN, Sec("maps", bytes(36 * 60_000)), *(Sym(f"m{n}", "maps", 36 * n, 36, 1) for n in range(60_000))
    ).build(),
    "a legacy map of 1 MiB": lambda: object_of(MAIN, Sec("maps", b"\1" * MIB), Sym("m", "maps", 0, MIB, 1)).build(),
    "legacy map ids in a ring": lambda: object_of(
        MAIN, Sec("maps", struct.pack("<9I", 12, 4, 4, 1, 0, 1, 0, 1, 0) * 2),
        Sym("a", "maps", 0, 36, 1), Sym("b", "maps", 36, 36, 1),
    ).build(),
}  # fmt: skip

FIELDS = _section_fields()

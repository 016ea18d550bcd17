"""Write ELF objects in memory: well-formed ones, and such as no compiler makes."""

import struct
from dataclasses import dataclass, field, replace

from xdploaderd.insn import EXIT, Insn, encode_insns
from xdploaderd.obj.elf import SymBind, SymType
from xdploaderd.obj.elf_sections import SHF_EXECINSTR, SectionType

EM_BPF = 247
ET_REL = 1
SHDR_SIZE = 64
RETURN_0 = encode_insns([Insn(0xB7, 0, 0, 0, 0), Insn(EXIT, 0, 0, 0, 0)])  # r0 = 0; exit


@dataclass(frozen=True)
class Sec:
    """One section; `size`, `offset` and the rest may be given to lie about what is in the file."""

    name: str
    data: bytes = b""
    type: int = SectionType.PROGBITS
    flags: int = 0
    link: int = 0
    info: int = 0
    entsize: int = 0
    size: int | None = None
    offset: int | None = None


@dataclass(frozen=True)
class Sym:
    """One symbol; `section` is a section's name, or a raw index."""

    name: str
    section: str | int
    value: int = 0
    size: int = 0
    type: int = SymType.NOTYPE
    bind: int = SymBind.GLOBAL
    visibility: int = 0


@dataclass(frozen=True)
class Rel:
    """One relocation of section `target`; `symbol` is a symbol's name, or a raw index."""

    target: str
    offset: int
    symbol: str | int
    type: int = 1


@dataclass(frozen=True)
class Elf:
    """An object to be written by `build`; `header` overrides fields of the ELF header by name."""

    sections: tuple[Sec, ...] = ()
    symbols: tuple[Sym, ...] = ()
    relocs: tuple[Rel, ...] = ()
    byteorder: str = "little"
    header: dict[str, int] = field(default_factory=dict)
    symtab: dict[str, int] = field(default_factory=dict)

    def build(self) -> bytes:
        """Return the bytes of the file."""
        return _Writer(self).write()

    def with_section(self, name: str, **changes: int | bytes | str) -> "Elf":
        """Return the object with a section changed."""
        changed = tuple(replace(s, **changes) if s.name == name else s for s in self.sections)  # type: ignore[arg-type]
        return replace(self, sections=changed)


def program(name: str, section: str = "xdp", insns: bytes = RETURN_0, **symbol: int) -> tuple[Sec, Sym]:
    """Return a section with one function that fills it, and the function's symbol."""
    return (
        Sec(section, insns, flags=SHF_EXECINSTR),
        replace(Sym(name, section, 0, len(insns), SymType.FUNC), **symbol),  # type: ignore[arg-type]
    )


def object_of(*parts: Sec | Sym | Rel | tuple[Sec, Sym], byteorder: str = "little") -> Elf:
    """Return an object of those parts, with a license."""
    flat = [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]
    return Elf(
        sections=(*(item for item in flat if isinstance(item, Sec)), Sec("license", b"GPL\0")),
        symbols=tuple(item for item in flat if isinstance(item, Sym)),
        relocs=tuple(item for item in flat if isinstance(item, Rel)),
        byteorder=byteorder,
    )


class _Writer:
    """Lays out one file: header, contents, section headers."""

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.order = "<" if elf.byteorder == "little" else ">"
        self.indices: dict[str, int] = {}
        for number, section in enumerate(elf.sections, 1):
            self.indices.setdefault(section.name, number)

    def write(self) -> bytes:
        sections = [Sec("", type=SectionType.NULL), *self.elf.sections, *self._tables()]
        names = self._strings([section.name for section in sections])
        sections.append(Sec(".shstrtab", names[0] + b".shstrtab\0", SectionType.STRTAB))
        offsets = [*names[1], len(names[0])]
        body, headers = bytearray(), bytearray()
        for section, name_offset in zip(sections, offsets, strict=True):
            headers += self._shdr(section, name_offset, SHDR_SIZE + len(body))
            body += section.data + b"\0" * (-len(section.data) % 8)
        return self._ehdr(SHDR_SIZE + len(body), len(sections)) + bytes(body) + bytes(headers)

    def _tables(self) -> list[Sec]:
        first = len(self.elf.sections) + 1
        strings, offsets = self._strings([symbol.name for symbol in self.elf.symbols])
        symtab = bytes(24) + b"".join(
            struct.pack(
                self.order + "IBBHQQ",
                *(offset, symbol.bind << 4 | symbol.type, symbol.visibility, self._index(symbol.section)),
                *(symbol.value, symbol.size),
            )
            for symbol, offset in zip(self.elf.symbols, offsets, strict=True)
        )
        table = Sec(".symtab", symtab, SectionType.SYMTAB, link=first, info=1, entsize=24)
        table = replace(table, **self.elf.symtab)  # type: ignore[arg-type]
        targets = dict.fromkeys(reloc.target for reloc in self.elf.relocs)
        return [
            Sec(".strtab", strings, SectionType.STRTAB),
            table,
            *(self._rel(target, first + 1) for target in targets),
        ]

    def _rel(self, target: str, symtab: int) -> Sec:
        numbers = {symbol.name: number for number, symbol in enumerate(self.elf.symbols, 1)}
        data = b"".join(
            struct.pack(
                self.order + "QQ",
                reloc.offset,
                (numbers[reloc.symbol] if isinstance(reloc.symbol, str) else reloc.symbol) << 32 | reloc.type,
            )
            for reloc in self.elf.relocs
            if reloc.target == target
        )
        return Sec(f".rel{target}", data, SectionType.REL, link=symtab, info=self.indices[target], entsize=16)

    def _index(self, section: str | int) -> int:
        return self.indices[section] if isinstance(section, str) else section

    def _strings(self, names: list[str]) -> tuple[bytes, list[int]]:
        table, offsets = bytearray(b"\0"), []
        for name in names:
            offsets.append(len(table) if name else 0)
            table += name.encode() + b"\0" if name else b""
        return bytes(table), offsets

    def _shdr(self, section: Sec, name_offset: int, offset: int) -> bytes:
        return struct.pack(
            self.order + "IIQQQQIIQQ",
            *(name_offset, section.type, section.flags, 0),
            offset if section.offset is None else section.offset,
            len(section.data) if section.size is None else section.size,
            *(section.link, section.info, 8, section.entsize),
        )

    def _ehdr(self, shoff: int, shnum: int) -> bytes:
        fields = {
            "class": 2, "data": 1 if self.order == "<" else 2, "type": ET_REL, "machine": EM_BPF, "version": 1,
            "shoff": shoff, "ehsize": 64, "shentsize": SHDR_SIZE, "shnum": shnum, "shstrndx": shnum - 1,
        }  # fmt: skip
        fields |= self.elf.header
        ident = b"\x7fELF" + bytes([fields["class"], fields["data"], 1]) + bytes(9)
        return ident + struct.pack(
            self.order + "HHIQQQIHHHHHH",
            *(fields["type"], fields["machine"], fields["version"], 0, 0, fields["shoff"], 0),
            *(fields["ehsize"], 0, 0, fields["shentsize"], fields["shnum"], fields["shstrndx"]),
        )

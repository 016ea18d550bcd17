"""Which functions an object has, and their instructions (libbpf.c, bpf_object__add_programs)."""

import itertools
import sys
from array import array
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.insn import INSN_SIZE, Insns
from xdploaderd.obj.elf import ElfImage, Section, Symbol, SymType

TEXT_SECTION = ".text"


@dataclass(frozen=True, slots=True)
class Function:
    """A function before its relocations are read; `insn_off` in slots from the start of its section.

    `symbol` None: the object has no function symbols, and the whole section is one function.
    """

    name: str
    section: Section
    insn_off: int
    insns: Insns
    symbol: Symbol | None

    def is_subprogram(self) -> bool:
        """Tell whether other functions call it: section .text holds nothing the kernel enters by itself."""
        return self.section.name == TEXT_SECTION


def has_function_symbols(image: ElfImage) -> bool:
    """Tell whether a symbol says where a function lies in any program section."""
    return any(
        symbol.type == SymType.FUNC for section in image.program_sections() for symbol in image.symbols_in(section)
    )


def find_functions(image: ElfImage, *, allow_static: bool = False) -> tuple[Function, ...]:
    """Return the functions by section and offset; without any function symbol each section is one.

    A static function outside .text is an ObjectError unless `allow_static`. LimitError bounds sizes.
    """
    if sum(section.name == TEXT_SECTION for section in image.program_sections()) > 1:
        raise ObjectError("two sections are named '.text'")
    by_symbol = has_function_symbols(image)
    found = [
        function
        for section in image.program_sections()
        for function in (_by_symbols(image, section) if by_symbol else [_whole(image, section)])
    ]
    if not allow_static:
        _refuse_static(found)
    _check_sizes(image, found)
    return tuple(found)


def split_text(functions: Sequence[Function], targets: AbstractSet[int]) -> tuple[Function, ...]:
    """Return the functions with .text, of which no symbol tells more, cut at the instructions that calls go to."""
    return tuple(piece for function in functions for piece in _pieces(function, targets))


def native_insns(raw: bytes | memoryview, byteorder: str) -> Insns:
    """Return instructions in this machine's order: fields swapped, and the two halves of the register byte."""
    if byteorder == sys.byteorder:
        return bytes(raw)
    swapped = array("H", bytes(raw))
    swapped.byteswap()
    out = bytearray(swapped.tobytes())
    out[0::8], out[1::8] = raw[0::8], bytes(registers << 4 & 0xF0 | registers >> 4 for registers in raw[1::8])
    out[4::8], out[5::8], out[6::8], out[7::8] = out[6::8], out[7::8], out[4::8], out[5::8]
    return bytes(out)


def _by_symbols(image: ElfImage, section: Section) -> Iterator[Function]:
    symbols = [symbol for symbol in image.symbols_in(section) if symbol.type == SymType.FUNC]
    for symbol in sorted(symbols, key=lambda symbol: symbol.value):
        start, end = symbol.value, symbol.value + symbol.size
        if end > section.size:
            raise ObjectError(
                f"function '{symbol.name}' reaches to byte {end} of section '{section.name}' of {section.size} bytes"
            )
        if not symbol.size or start % INSN_SIZE or symbol.size % INSN_SIZE:
            raise ObjectError(
                f"function '{symbol.name}' at byte {start} of section '{section.name}' has {symbol.size} bytes,"
                f" want a positive multiple of {INSN_SIZE}"
            )
        insns = native_insns(section.data()[start:end], image.byteorder)
        yield Function(symbol.name, section, start // INSN_SIZE, insns, symbol)


def _whole(image: ElfImage, section: Section) -> Function:
    usable = section.size // INSN_SIZE * INSN_SIZE
    if not usable:
        raise ObjectError(f"section '{section.name}' of {section.size} bytes holds no instruction")
    return Function(section.name, section, 0, native_insns(section.data()[:usable], image.byteorder), None)


def _pieces(function: Function, targets: AbstractSet[int]) -> Iterator[Function]:
    count = len(function.insns) // INSN_SIZE
    if function.symbol is not None or not function.is_subprogram():
        yield function
        return
    cuts = [0, *sorted(target for target in targets if 0 < target < count), count]
    for start, end in itertools.pairwise(cuts):
        insns = function.insns[start * INSN_SIZE : end * INSN_SIZE]
        yield replace(function, name=f"{function.name}+{start}", insn_off=start, insns=insns)


def _refuse_static(functions: list[Function]) -> None:
    for function in functions:
        if function.symbol and function.symbol.is_local() and not function.is_subprogram():
            raise ObjectError(
                f"function '{function.name}' of section '{function.section.name}' is static, want a global one"
            )


def _check_sizes(image: ElfImage, functions: list[Function]) -> None:
    longest = max((len(function.insns) // INSN_SIZE for function in functions), default=0)
    if longest > image.limits.instructions:
        raise LimitError(f"function of {longest} instructions, at most {image.limits.instructions} are loaded")
    if sum(len(function.insns) for function in functions) > len(image.raw):
        raise LimitError("functions overlap: together they are longer than the file")
    entries = sum(not function.is_subprogram() for function in functions)
    if entries > image.limits.programs:
        raise LimitError(f"object with {entries} programs, at most {image.limits.programs} are loaded")

"""Which functions an object has, and their instructions (libbpf.c, bpf_object__add_programs)."""

import itertools
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import NamedTuple

from xdploaderd.errors import LimitError, ObjectError
from xdploaderd.insn import CALL, INSN_SIZE, Insns, decode_insn
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import ElfImage, Symbol
from xdploaderd.obj.elf_sections import Section
from xdploaderd.uapi.bpf import PSEUDO_CALL

TEXT_SECTION = ".text"
_value = attrgetter("value")
_SECTION_SHIFT = 32  # above every instruction index, since a file has under 2**32 bytes


class Function(NamedTuple):
    """A function before its relocations are read; `insn_off` in slots from the start of its section.

    `symbol` None: the object has no function symbols, and the whole section is one function.
    """

    name: str
    section: Section
    insn_off: int
    insns: Insns
    symbol: Symbol | None
    called_locally: bool = False

    def is_subprogram(self) -> bool:
        """Tell whether other functions call it: section .text holds nothing the kernel enters by itself."""
        return self.called_locally or self.section.name == TEXT_SECTION

    @property
    def start(self) -> int:
        """What calls name it by, see `callee_key`."""
        return callee_key(self.section, self.insn_off)


def callee_key(section: Section, insn_off: int) -> int:
    """Return what tells a called function from all others: in .text its first instruction, else the section too."""
    return insn_off if section.name == TEXT_SECTION else section.number << _SECTION_SHIFT | insn_off


def has_function_symbols(image: ElfImage) -> bool:
    """Tell whether a symbol says where a function lies in any program section."""
    return any(image.functions_in(section) for section in image.program_sections())


def find_functions(image: ElfImage, *, legacy: bool = False) -> tuple[Function, ...]:
    """Return the functions by section and offset; without any function symbol each section is one.

    In the `legacy` dialect that goes section by section, and a static function outside .text, elsewhere an
    ObjectError, is a program, or, where its own section calls it, a subprogram. LimitError bounds sizes.
    """
    if sum(section.name == TEXT_SECTION for section in image.program_sections()) > 1:
        raise ObjectError("two sections are named '.text'")
    by_symbol = has_function_symbols(image)
    found = [
        function
        for section in image.program_sections()
        for function in _functions_of(image, section, whole=not by_symbol or legacy)
    ]
    if legacy:
        local = local_callees(image)
        found = [function._replace(called_locally=True) if function.start in local else function for function in found]
    else:
        _refuse_static(found)
    _check_sizes(image, found)
    return tuple(found)


def local_callees(image: ElfImage) -> frozenset[int]:
    """Return, as `callee_key` has it, the static functions outside .text that their own section calls.

    The assembler settles such calls; only libbpf's dialect has no place for them.
    """
    found: set[int] = set()
    for section in image.program_sections():
        starts = {s.value // INSN_SIZE for s in image.functions_in(section) if s.is_local()}
        if section.name != TEXT_SECTION and starts:
            found |= {callee_key(section, target) for target in starts & set(_settled_calls(image, section))}
    return frozenset(found)


def _settled_calls(image: ElfImage, section: Section) -> Iterator[int]:
    """Yield the instructions of a section that it calls without a relocation."""
    insns = native_insns(section.data()[: section.size // INSN_SIZE * INSN_SIZE], image.byteorder)
    relocated = {reloc.offset // INSN_SIZE for reloc in image.relocs(section)}
    codes, slot = insns[::INSN_SIZE], -1
    while (slot := codes.find(CALL, slot + 1)) >= 0:
        insn = decode_insn(insns, slot, sys.byteorder)
        if insn.src_reg == PSEUDO_CALL and slot not in relocated:
            yield slot + insn.imm + 1


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


def _functions_of(image: ElfImage, section: Section, *, whole: bool) -> Iterable[Function]:
    """Return the functions that symbols tell of; `whole`: a section without any is one function."""
    return tuple(_by_symbols(image, section)) or ((_whole(image, section),) if whole else ())


def _by_symbols(image: ElfImage, section: Section) -> Iterator[Function]:
    data, byteorder = section.data(), image.byteorder
    for symbol in sorted(image.functions_in(section), key=_value):
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
        insns = native_insns(data[start:end], byteorder)
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
        yield function._replace(name=f"{function.name}+{start}", insn_off=start, insns=insns)


def _refuse_static(functions: list[Function]) -> None:
    for function in functions:
        if function.symbol and function.symbol.is_local() and not function.is_subprogram():
            raise ObjectError(
                f"function '{function.name}' of section '{function.section.name}' is static, want a global one"
            )


def _check_sizes(image: ElfImage, functions: list[Function]) -> None:
    sizes = [len(function.insns) for function in functions]
    longest = max(sizes, default=0) // INSN_SIZE
    if longest > image.limits.instructions:
        raise over_limit(image.limits, "instructions", f"function of {longest} instructions", "loaded")
    if sum(sizes) > len(image.raw):
        raise LimitError("functions overlap: together they are longer than the file")
    entries = sum(not function.is_subprogram() for function in functions)
    if entries > image.limits.programs:
        raise over_limit(image.limits, "programs", f"object with {entries} programs", "loaded")

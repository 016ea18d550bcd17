"""ELF relocations of code to Reloc values (libbpf.c, bpf_program__record_reloc and bpf_object__reloc_code).

Calls are settled to the first instruction of the callee in .text, whether a relocation says so or, inside .text, only
the instruction does; who links programs needs no ELF.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from xdploaderd.errors import RelocationError, error_context
from xdploaderd.insn import CALL, INSN_SIZE, LD_IMM64, Insn, decode_insn, to_s32
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import SHN_LORESERVE, ElfImage, SymBind, Symbol, SymType
from xdploaderd.obj.elf_sections import Section
from xdploaderd.obj.externs import is_extern
from xdploaderd.obj.functions import TEXT_SECTION, Function, callee_key
from xdploaderd.obj.places import MapPlaces
from xdploaderd.obj.section_relocs import SectionRelocs
from xdploaderd.obj.spec import CallRef, DataRef, ExternRef, ExternSpec, FuncRef, MapRef, Reloc
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import PSEUDO_CALL, PseudoSrc


@dataclass(frozen=True, slots=True)
class Referents:
    """What relocations may refer to: maps by place, externs by name, and where subprograms start in .text.

    `starts` None: not known yet, any place is taken for one.
    """

    places: MapPlaces
    externs: Mapping[str, ExternSpec]
    starts: AbstractSet[int] | None


def collect_relocs(
    image: ElfImage, function: Function, in_section: SectionRelocs, referents: Referents
) -> Sequence[Reloc]:
    """Return what a function's instructions refer to, ascending; RelocationError names instruction and symbol."""
    count = len(function.insns) // INSN_SIZE
    end = function.insn_off + count
    if (loads := in_section.loads_of_maps(function.insn_off, end)) is not None:  # most functions of large objects
        return loads
    named, maps = in_section.between(function.insn_off, end)
    most = image.limits.relocations
    slots = sorted((*named, *islice(_by_distance(function, named.keys()), most + 1)))
    if len(slots) > most:
        raise over_limit(
            image.limits, "relocations", f"function {quoted(function.name)} has too many calls and references", "taken"
        )
    slots = [slot for slot in slots if slot in named or not _stays_inside(function, slot)]
    found: list[Reloc] = []
    with error_context(lambda: _place(image, function, slots[len(found)], named)):
        for slot in slots:
            name = maps.get(slot)
            if name and slot + 1 < count:
                found.append(MapRef(slot, name))
            else:
                found.append(_read_reloc(image, slot, named.get(slot), function, referents))
    return tuple(found)


def _read_reloc(image: ElfImage, slot: int, number: int | None, function: Function, referents: Referents) -> Reloc:
    """Return what one instruction refers to; `number` of a symbol, None where no relocation names one."""
    insn = decode_insn(function.insns, slot, sys.byteorder)
    if number is None:
        return _local_call(slot, insn, function, referents)
    return _classify(image, slot, insn, image.symbols[number], function, referents)


def _place(image: ElfImage, function: Function, slot: int, named: Mapping[int, int]) -> str:
    symbol = f": symbol '{image.name_of(image.symbols[named[slot]])}'" if slot in named else ""
    return f"function '{function.name}': insn #{slot}{symbol}"


def _by_distance(function: Function, named: AbstractSet[int]) -> Iterator[int]:
    """Yield the instructions that refer to another function by distance, and not by a relocation (`named`)."""
    codes = function.insns[::INSN_SIZE]
    for code, src_reg in ((CALL, PSEUDO_CALL), (LD_IMM64, PseudoSrc.FUNC)):
        slot = -1
        while (slot := codes.find(code, slot + 1)) >= 0:
            if slot not in named and decode_insn(function.insns, slot, sys.byteorder).src_reg == src_reg:
                yield slot


def _local_call(slot: int, insn: Insn, function: Function, referents: Referents) -> Reloc:
    """Settle a call of a static function of the same section, for which no relocation is written."""
    if insn.code != CALL:
        raise RelocationError("loads a function's address without a relocation")
    target = function.insn_off + slot + insn.imm + 1
    if function.section.name == TEXT_SECTION:
        return CallRef(slot, _callee(target, referents))
    key = callee_key(function.section, target)
    if referents.starts is None or key not in referents.starts:
        raise RelocationError(f"calls into its own section '{function.section.name}', want a callee in .text")
    return CallRef(slot, key)


def _stays_inside(function: Function, slot: int) -> bool:
    """Tell whether a call needs no settling: it goes from one place of a whole section to another."""
    if function.symbol is not None or function.is_subprogram():
        return False
    insn = decode_insn(function.insns, slot, sys.byteorder)
    return insn.code == CALL and 0 <= slot + insn.imm + 1 < len(function.insns) // INSN_SIZE


def _callee(target: int, referents: Referents) -> int:
    if referents.starts is not None and target not in referents.starts:
        raise RelocationError(f"refers to instruction {target} of .text, where no function starts")
    return target


def _classify(
    image: ElfImage, slot: int, insn: Insn, symbol: Symbol, function: Function, referents: Referents
) -> Reloc:
    is_call = insn.code == CALL
    if not (is_call or insn.is_ld64()):
        raise RelocationError(f"opcode {insn.code:#04x} cannot be relocated, want a call or a 64-bit load")
    if not is_call and slot + 1 >= len(function.insns) // INSN_SIZE:
        raise RelocationError("64-bit load is cut off after its first half")
    if is_extern(symbol):
        if symbol.name not in referents.externs:
            raise RelocationError("extern is unknown")
        return ExternRef(slot, symbol.name, is_call)
    if not 0 < symbol.section < min(len(image.sections), SHN_LORESERVE):
        raise RelocationError(f"is in special section {symbol.section:#x} (a variable that was never defined?)")
    section = image.sections[symbol.section]
    if is_call:
        return CallRef(slot, _call_target(insn, symbol, section, referents))
    if section.name == TEXT_SECTION and _is_function_address(symbol):
        return FuncRef(slot, _address_target(insn, symbol, referents))
    return _map_reloc(slot, insn, symbol, section, referents.places)


def _call_target(insn: Insn, symbol: Symbol, section: Section, referents: Referents) -> int:
    if insn.src_reg != PSEUDO_CALL:
        raise RelocationError(f"call of a function of this object has src_reg {insn.src_reg}, want {PSEUDO_CALL}")
    if section.name != TEXT_SECTION:
        raise RelocationError(f"callee lies in section '{section.name}', want .text")
    if symbol.value % INSN_SIZE:
        raise RelocationError(f"callee starts at byte {symbol.value}, want a multiple of {INSN_SIZE}")
    return _callee(symbol.value // INSN_SIZE + insn.imm + 1, referents)


def _is_function_address(symbol: Symbol) -> bool:
    if symbol.bind == SymBind.LOCAL:
        return symbol.type == SymType.SECTION
    return symbol.type == SymType.FUNC


def _address_target(insn: Insn, symbol: Symbol, referents: Referents) -> int:
    if symbol.value % INSN_SIZE or insn.imm % INSN_SIZE:
        raise RelocationError(f"function address {symbol.value}+{insn.imm} is no multiple of {INSN_SIZE}")
    return _callee((symbol.value + insn.imm) // INSN_SIZE, referents)


def _map_reloc(slot: int, insn: Insn, symbol: Symbol, section: Section, places: MapPlaces) -> Reloc:
    data_map = places.data.get(section.number)
    if data_map is not None:
        value_off = symbol.value + insn.imm
        if value_off != to_s32(value_off):
            raise RelocationError(f"refers to byte {value_off} of section '{section.name}' of {section.size} bytes")
        return DataRef(slot, data_map, value_off)
    if section.number not in places.definitions:
        raise RelocationError(f"refers to section '{section.name}', which holds neither maps nor data")
    name = places.at.get((section.number, symbol.value))
    if name is None:
        raise RelocationError(f"refers to byte {symbol.value} of section '{section.name}', where no map starts")
    return MapRef(slot, name)

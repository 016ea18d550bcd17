"""Append the subprograms a program calls and settle the calls (libbpf.c, bpf_object__reloc_code)."""

import sys
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from xdploaderd.errors import RelocationError, error_context
from xdploaderd.insn import CALL, INSN_SIZE, LD_IMM64, Insn, Insns, decode_insn, put_insn
from xdploaderd.obj.spec import CallRef, DataRef, ExternRef, FuncRef, FunctionSpec, MapRef, Placement, Reloc
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import PSEUDO_CALL, PseudoSrc

TEXT_SECTION = ".text"
ValueRef = MapRef | DataRef | ExternRef
Locate = Callable[[FunctionSpec, int], str]  # a function and a slot of it to the words that name the place


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedProgram:
    """A program with every function it needs behind it and its calls settled.

    `relocs` are those that name maps and externs, ascending, counted in the linked program as `placements` are, which
    start with the entry function at 0.
    """

    insns: Insns
    relocs: tuple[ValueRef, ...]
    placements: tuple[Placement, ...]


def link_program(
    entry: FunctionSpec,
    subprograms: Mapping[int, FunctionSpec],
    *,
    locate: Locate,
    callback: FunctionSpec | None = None,
    by_address: bool = False,
) -> LinkedProgram:
    """Return `entry` linked with the subprograms it reaches, in libbpf's order: depth first, by first use.

    `by_address`: in iproute2's order, those of the program's own section before those of .text, as they lie there.
    `callback` is the exception callback, which nothing calls. RelocationError for a call of what is no function.
    """
    linker = _Linker(subprograms, locate)
    if by_address:
        linker.append_by_address(entry)
    else:
        linker.append(entry)
    if callback is not None and callback.insn_off not in linker.positions:
        linker.append(callback, callback.insn_off)
    return linker.finish()


class _Linker:
    """The program as it grows; each function is appended once, its position known before its own calls are followed."""

    def __init__(self, subprograms: Mapping[int, FunctionSpec], locate: Locate) -> None:
        self.positions: dict[int, int] = {}  # key of a subprogram -> position in the program
        self._subprograms = subprograms
        self._locate = locate
        self._insns = bytearray()
        self._relocs: list[ValueRef] = []
        self._placements: list[Placement] = []

    def append(self, function: FunctionSpec, key: int | None = None) -> None:
        """Append the function and, depth first, all that it reaches; an explicit stack bounds Python's own."""
        stack = [self._place(function, key)]
        while stack:
            for callee in stack[-1]:
                stack.append(self._place(self._subprograms[callee], callee))
                break
            else:
                stack.pop()

    def append_by_address(self, entry: FunctionSpec) -> None:
        """Append the function, then all that it reaches by section and address."""
        reached = sorted(
            self._reached_from(entry), key=lambda key: (self._subprograms[key].section == TEXT_SECTION, key)
        )
        unsettled = [self._place(entry, None), *(self._place(self._subprograms[key], key) for key in reached)]
        for calls in unsettled:
            for _ in calls:
                raise AssertionError("every callee has its place by now")

    def _reached_from(self, entry: FunctionSpec) -> AbstractSet[int]:
        reached: set[int] = set()
        waiting = [entry]
        while waiting:
            function = waiting.pop()
            for insn_idx, target in _calls(function, self._locate):
                self._check_callee(function, insn_idx, target)
                if target not in reached:
                    reached.add(target)
                    waiting.append(self._subprograms[target])
        return reached

    def finish(self) -> LinkedProgram:
        """Return what has been linked."""
        relocs = tuple(sorted(self._relocs, key=lambda reloc: reloc.insn_idx))
        return LinkedProgram(insns=bytes(self._insns), relocs=relocs, placements=tuple(self._placements))

    def _place(self, function: FunctionSpec, key: int | None) -> Iterator[int]:
        position = len(self._insns) // INSN_SIZE
        if key is not None:
            self.positions[key] = position
        self._insns += function.insns
        self._placements.append(Placement(function, position))
        for reloc in function.relocs:
            if isinstance(reloc, MapRef | DataRef | ExternRef):
                self._relocs.append(_moved(reloc, position))
        return self._settle_calls(function, position)

    def _settle_calls(self, function: FunctionSpec, position: int) -> Iterator[int]:
        """Write the distance of every call of `function`; yields each callee that must first get its place."""
        for insn_idx, target in _calls(function, self._locate):
            self._check_callee(function, insn_idx, target)
            if target not in self.positions:
                yield target
            self._write_distance(position + insn_idx, self.positions[target])

    def _check_callee(self, function: FunctionSpec, insn_idx: int, target: int) -> None:
        if target not in self._subprograms:
            with error_context(partial(self._locate, function, insn_idx)):
                raise RelocationError(f"calls instruction {target} of section '.text', where no function starts")

    def _write_distance(self, caller: int, callee: int) -> None:
        insn = decode_insn(self._insns, caller, sys.byteorder)
        src_reg = PSEUDO_CALL if insn.code == CALL else PseudoSrc.FUNC
        settled = insn._replace(src_reg=int(src_reg), imm=callee - caller - 1)
        put_insn(self._insns, caller, settled, sys.byteorder)


def _moved(reloc: MapRef | DataRef | ExternRef, position: int) -> MapRef | DataRef | ExternRef:
    slot = reloc.insn_idx + position
    return replace(reloc, insn_idx=slot) if isinstance(reloc, ExternRef) else reloc._replace(insn_idx=slot)


def _calls(function: FunctionSpec, locate: Locate) -> Iterator[tuple[int, int]]:
    """Yield (slot, key of the callee) of every call and function address, ascending."""
    relocs = {reloc.insn_idx: reloc for reloc in function.relocs}
    slots = {slot for slot, reloc in relocs.items() if isinstance(reloc, CallRef | FuncRef)}
    slots |= {slot for slot in _pseudo_slots(function.insns) if not isinstance(relocs.get(slot), ExternRef)}
    for slot in sorted(slots):
        with error_context(partial(locate, function, slot)):
            target = _target(function, slot, relocs.get(slot))
        if target is not None:
            yield slot, target


def _target(function: FunctionSpec, slot: int, reloc: Reloc | None) -> int | None:
    """Return the key of the function that is called; None for a call inside the function itself, which stays."""
    insn = decode_insn(function.insns, slot, sys.byteorder)
    match reloc:
        case CallRef(callee=callee) if insn.code == CALL:
            return callee
        case FuncRef(callee=callee) if insn.code == LD_IMM64:
            return callee
        case None if insn.code == CALL:
            return _same_section_target(function, slot, insn)
        case None:
            raise RelocationError("takes a function's address without a relocation")
        case _:
            raise RelocationError("is a call or a function's address, its relocation is of another kind")


def _same_section_target(function: FunctionSpec, slot: int, insn: Insn) -> int | None:
    """The assembler settles calls of static functions in their own section; there is no relocation."""
    target = slot + insn.imm + 1
    if 0 <= target < len(function.insns) // INSN_SIZE:
        return None
    if function.section != TEXT_SECTION:
        raise RelocationError(f"calls another function of section {quoted(function.section)}, want one of '.text'")
    return function.insn_off + target


def _pseudo_slots(insns: Insns) -> Iterator[int]:
    """Yield the slots of calls of BPF functions and of loads of their addresses; both halves of no load match."""
    codes = insns[::INSN_SIZE]
    for code, src_reg in ((CALL, PSEUDO_CALL), (LD_IMM64, PseudoSrc.FUNC)):
        slot = -1
        while (slot := codes.find(code, slot + 1)) >= 0:
            insn = decode_insn(insns, slot, sys.byteorder)
            if insn.src_reg == src_reg and (code == LD_IMM64 or (insn.dst_reg == 0 and insn.off == 0)):
                yield slot

"""func_info and line_info of a linked program, and the source line of an instruction (libbpf btf.c, struct btf_ext).

The compiler's records count bytes from the start of a section; the kernel's count instructions from the start of the
program it is given, where subprograms have moved.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import TypeVar

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt, FuncInfo, LineInfo
from xdploaderd.errors import BtfError, RelocationError
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.spec import FunctionSpec, Placement
from xdploaderd.printable import printable, quoted

FUNC_INFO = struct.Struct("=II")  # struct bpf_func_info: insn_off, type_id
LINE_INFO = struct.Struct("=IIII")  # struct bpf_line_info: insn_off, file_name_off, line_off, line_col
LINE_SHIFT = 10  # BPF_LINE_INFO_LINE_NUM
_insn_off = attrgetter("insn_off")

Record = TypeVar("Record", FuncInfo, LineInfo)
SectionRecords = Mapping[str, tuple[Record, ...]]


def sorted_records(ext: BtfExt) -> BtfExt:
    """Return `ext` with the records of each section in the order of their instructions, as the searches here want."""
    return BtfExt(
        {section: _in_order(records) for section, records in ext.func_infos.items()},
        {section: _in_order(records) for section, records in ext.line_infos.items()},
        ext.core_relos,
    )


def linked_func_info(ext: BtfExt, placements: Iterable[Placement]) -> bytes:
    """Return the program's func_info, empty when the entry function has none.

    RelocationError when the entry function has records and a linked one has not: the kernel wants all or none.
    """
    rows = _linked(ext.func_infos, placements, "function")
    return b"".join(FUNC_INFO.pack(slot, record.type_id) for slot, record in rows)


def linked_line_info(ext: BtfExt, placements: Iterable[Placement]) -> bytes:
    """Return the program's line_info, empty when the entry function has none; errors as linked_func_info."""
    return b"".join(
        LINE_INFO.pack(slot, record.file_name_off, record.line_off, record.line_col)
        for slot, record in _linked(ext.line_infos, placements, "line")
    )


def describe_insn(btf: Btf | None, ext: BtfExt | None, function: FunctionSpec, insn_idx: int) -> str:
    """Return where an instruction is, for messages: its slot in the function and, where known, file and line."""
    plain = f"insn #{insn_idx} of {quoted(function.name)}"
    if btf is None or ext is None:
        return plain
    records = ext.line_infos.get(function.section, ())
    at = bisect_left(records, (function.insn_off + insn_idx + 1) * INSN_SIZE, key=_insn_off) - 1
    if at < 0 or records[at].insn_off < function.insn_off * INSN_SIZE:
        return plain
    try:
        file_name = btf.string(records[at].file_name_off)
    except BtfError:
        return plain
    return f"{plain} ({printable(file_name.rpartition('/')[2])}:{records[at].line_col >> LINE_SHIFT})"


def _linked(
    sections: SectionRecords[Record], placements: Iterable[Placement], what: str
) -> Iterable[tuple[int, Record]]:
    rows: list[tuple[int, Record]] = []
    for number, placement in enumerate(placements):
        found = _records_of(sections, placement.function)
        if not found and number == 0:
            return ()
        if not found:
            raise RelocationError(f"{quoted(placement.function.name)} has no {what} info, its caller has")
        if len(found) > len(placement.function.insns) // INSN_SIZE:
            raise RelocationError(
                f"{quoted(placement.function.name)} has {len(found)} {what} records, more than instructions"
            )
        shift = placement.position - placement.function.insn_off
        rows += ((record.insn_off // INSN_SIZE + shift, record) for record in found)
    return rows


def _records_of(sections: SectionRecords[Record], function: FunctionSpec) -> tuple[Record, ...]:
    records = sections.get(function.section, ())
    start = function.insn_off * INSN_SIZE
    first = bisect_left(records, start, key=_insn_off)
    return records[first : bisect_left(records, start + len(function.insns), key=_insn_off)]


def _in_order(records: tuple[Record, ...]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=_insn_off))

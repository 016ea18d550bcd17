"""Tail-call sections of the legacy dialect: ID/KEY puts a program into a program array (iproute2 lib/bpf_legacy.c)."""

import re
from collections.abc import Iterable, Mapping, Sequence

from xdploaderd.errors import ObjectError, error_context
from xdploaderd.obj.functions import Function
from xdploaderd.obj.places import PlacedMap
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapType

_U32 = 0xFFFFFFFF
_C_INT = r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*))"
_TAIL_SECTION = re.compile(f"{_C_INT}/{_C_INT}")


def tail_call_slot(section: str) -> tuple[int, int] | None:
    """Return map id and key of a tail-call section, read as C's scanf("%i/%i") does; None for other names."""
    match = _TAIL_SECTION.match(section)
    return (_c_int(match[1]), _c_int(match[2])) if match else None


def tail_call_slots(
    maps: Sequence[PlacedMap], functions: Iterable[Function]
) -> tuple[Mapping[str, Mapping[int, str]], tuple[str, ...]]:
    """Return what program arrays hold by name, and the programs of tail-call sections that no array wants."""
    found: dict[str, dict[int, str]] = {}
    unwanted: list[str] = []
    for function in functions:
        slot = None if function.is_subprogram() else tail_call_slot(function.section.name)
        if slot is None:
            continue
        array = _program_array(maps, slot[0])
        if array is None:
            unwanted.append(function.name)
            continue
        with error_context(f"section '{function.section.name}'"):
            if slot[1] >= array.max_entries:
                raise ObjectError(
                    f"key {slot[1]} is outside program array '{array.name}' (id {slot[0]})"
                    f" of {array.max_entries} entries"
                )
            slots = found.setdefault(array.name, {})
            if slot[1] in slots:
                raise ObjectError(f"key {slot[1]} is taken by '{slots[slot[1]]}', cannot hold '{function.name}' too")
            slots[slot[1]] = function.name
    return found, tuple(unwanted)


def _c_int(text: str) -> int:
    """Return the number of C's %i: decimal, 0x hexadecimal or 0 octal, folded to 32 bits."""
    digits = text.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    value = int(digits, base)
    return (-value if text.startswith("-") else value) & _U32


def _program_array(maps: Sequence[PlacedMap], map_id: int) -> MapSpec | None:
    return next((m.spec for m in maps if m.spec.legacy_id == map_id and m.spec.type == MapType.PROG_ARRAY), None)

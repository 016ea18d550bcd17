"""Parts of a variable by the names that C has for them: `conf.ports[2].low`.

What libbpf's skeletons let a program write between open and load: members of global data and of struct_ops maps.
"""

import difflib
import re
from collections import deque
from collections.abc import Container
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, Composite, Member
from xdploaderd.errors import OverrideError, error_context
from xdploaderd.printable import quoted

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,10})\]")
_NAME_MAX = 1024  # characters of a whole name
_BITS = 8


class Part(NamedTuple):
    """Some bytes of a variable and their type; offset and size in bytes."""

    type_id: int
    offset: int
    size: int


def split_name(name: str, variables: Container[str]) -> tuple[str, str]:
    """Return the variable that a name begins with, and the rest; names of static variables have dots of their own.

    Where there is no such variable the whole name up to the first dot or bracket stands for it. OverrideError when the
    name is too long.
    """
    if len(name) > _NAME_MAX:
        raise OverrideError(f"a name of {len(name)} characters, wanted at most {_NAME_MAX}")
    ends = [len(name), *(at for at in range(len(name) - 1, 0, -1) if name[at] in ".[")]
    end = next((at for at in ends if name[:at] in variables), ends[-1])
    return name[:end], name[end:]


def part_of(btf: Btf, whole: Part, path: str) -> Part:
    """Return the part of a variable that a path such as `.ports[2].low` leads to; the whole for an empty one.

    OverrideError says where it leads to nothing; BtfError, that the types are broken.
    """
    part, at = whole, 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise OverrideError(f"{quoted(path[at:])} is no part of a variable, wanted .MEMBER or [NUMBER]")
        with error_context(path[: step.start()].lstrip(".") or "the variable"):
            part = _member(btf, part, step[1]) if step[1] else _element(btf, part, int(step[2]))
        at = step.end()
        if part.offset + part.size > whole.offset + whole.size:
            raise OverrideError(f"{quoted(path[:at])} reaches beyond the {whole.size} bytes of the variable")
    return part


def _element(btf: Btf, part: Part, index: int) -> Part:
    array = btf.type_by_id(btf.skip_mods_and_typedefs(part.type_id))
    if not isinstance(array, Array):
        raise OverrideError(f"is a {array.kind.name.lower()}, which has no elements")
    if index >= array.nelems:
        raise OverrideError(f"has {array.nelems} elements, there is no [{index}]")
    size = btf.size_of(array.elem_type_id)
    return Part(array.elem_type_id, part.offset + index * size, size)


def _member(btf: Btf, part: Part, name: str) -> Part:
    type_id = btf.skip_mods_and_typedefs(part.type_id)
    found = btf.type_by_id(type_id)
    if not isinstance(found, Composite):
        raise OverrideError(f"is a {found.kind.name.lower()}, which has no members")
    members = _members(btf, type_id)
    if name not in members:
        near = difflib.get_close_matches(name, members, n=1)
        hint = f", did you mean {quoted(near[0])}?" if near else ""
        raise OverrideError(f"has no member {quoted(name)}{hint}", near=near)
    member, base = members[name]
    if member.bitfield_size or (base + member.bit_offset) % _BITS:
        raise OverrideError(f"member {quoted(name)} is a bit field, which is set with the bytes of its struct")
    return Part(member.type_id, part.offset + (base + member.bit_offset) // _BITS, btf.size_of(member.type_id))


def _members(btf: Btf, type_id: int) -> dict[str, tuple[Member, int]]:
    """Return the members of a struct or union, and of the anonymous ones in it, each with the bits before its holder.

    Every type is looked at once, however often a hostile object has it in itself.
    """
    found: dict[str, tuple[Member, int]] = {}
    waiting, seen = deque([(type_id, 0)]), {type_id}
    while waiting:
        current, base = waiting.popleft()
        holder = btf.type_by_id(current)
        for member in holder.members if isinstance(holder, Composite) else ():
            if member.name:
                found.setdefault(member.name, (member, base))
            elif (inner := btf.skip_mods_and_typedefs(member.type_id)) not in seen:
                seen.add(inner)
                waiting.append((inner, base + member.bit_offset))
    return found

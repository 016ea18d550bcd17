"""Maps as C in libbpf's dialect: the `.maps` definition that makes the same map (libbpf bpf_helpers.h).

Sizes are given as numbers, since a legacy record knows no types; the definitions compile by themselves.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from xdploaderd.errors import ObjectError
from xdploaderd.obj.btf_maps import MAP_IN_MAP_TYPES
from xdploaderd.obj.spec import MapSpec
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import MapFlags, MapType

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONTEXTS = {"xdp": "struct xdp_md *ctx", "tc": "struct __sk_buff *skb", "action": "struct __sk_buff *skb"}


def c_name(name: str) -> str:
    """Return a name that C takes; ObjectError for one that it does not."""
    if not _IDENTIFIER.match(name):
        raise ObjectError(f"{quoted(name)} cannot be a name in C")
    return name


def c_function(name: str) -> str:
    """Return the name of the function of a program, which may be known by its section alone."""
    return name if _IDENTIFIER.match(name) else "prog_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def map_definition(spec: MapSpec, *, pinned: bool) -> str:
    """Return the variable that defines a map; `pinned`: by its name."""
    lines = ["struct {", *_members(spec, pinned=pinned)]
    if spec.inner is not None:
        lines += ["\t__array(values, struct {", *(f"\t{line}" for line in _members(spec.inner, pinned=False)), "\t});"]
    elif spec.slots:
        lines.append("\t__array(values, int (void *));")
    lines.append(f'}} {c_name(spec.name)} SEC(".maps")' + _values(spec) + ";")
    return "\n".join(lines)


def declarations(specs: Sequence[MapSpec], sections: Mapping[str, str]) -> Iterator[str]:
    """Yield the declarations of the programs that program arrays hold; `sections` are their new ones by program."""
    holding = (spec for spec in specs if spec.type not in MAP_IN_MAP_TYPES)
    for name in dict.fromkeys(name for spec in holding for name in spec.slots.values()):
        yield f"int {c_function(name)}({_CONTEXTS.get(sections.get(name, ''), '')});"


def _members(spec: MapSpec, *, pinned: bool) -> Iterator[str]:
    yield f"\t__uint(type, {_type_name(spec.type)});"
    if spec.max_entries:
        yield f"\t__uint(max_entries, {spec.max_entries});"
    if spec.key_size:
        yield f"\t__uint(key_size, {spec.key_size});"
    if spec.value_size and spec.inner is None and not spec.slots:
        yield f"\t__uint(value_size, {spec.value_size});"
    if spec.flags:
        yield f"\t__uint(map_flags, {_flag_names(spec.flags)});"
    if pinned:
        yield "\t__uint(pinning, LIBBPF_PIN_BY_NAME);"


def _values(spec: MapSpec) -> str:
    if not spec.slots:
        return ""
    of_maps = spec.type in MAP_IN_MAP_TYPES
    rows = (
        f"\t\t[{key}] = (void *)&{c_name(name) if of_maps else c_function(name)},"
        for key, name in sorted(spec.slots.items())
    )
    return " = {\n\t.values = {\n" + "\n".join(rows) + "\n\t},\n}"


def _type_name(number: int) -> str:
    try:
        return f"BPF_MAP_TYPE_{MapType(number).name}"
    except ValueError:
        return str(number)


def _flag_names(flags: int) -> str:
    known = [flag for flag in MapFlags if flags & flag]
    rest = flags & ~sum(known)
    return " | ".join([*(f"BPF_F_{flag.name}" for flag in known), *([f"{rest:#x}"] if rest else [])])

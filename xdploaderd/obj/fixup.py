"""The BTF given to the kernel: what the compiler leaves to the loader filled in (libbpf.c, btf_fixup_datasec).

Ids and string offsets of the object's BTF keep their meaning, so that func_info, line_info and maps need no change.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from xdploaderd.btf.build import encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.sanitize import sanitize_types
from xdploaderd.btf.types import (
    BtfKind,
    BtfType,
    Datasec,
    Func,
    FuncProto,
    Int,
    IntEncoding,
    Linkage,
    SecVar,
    Var,
    Void,
)
from xdploaderd.errors import BtfError, error_context
from xdploaderd.obj.layout import complete_datasec, effective_linkage
from xdploaderd.obj.spec import KCONFIG_MAP, DatasecLayout, ExternSpec, FunctionSpec, ObjectSpec
from xdploaderd.uapi.bpf import Feature, FeatureSet

KSYMS_SECTION = ".ksyms"
DUMMY_KSYM = "dummy_ksym"  # stands in .ksyms for every kfunc, and for parameters without a name
KSYM_SIZE = 4  # bytes that an extern of .ksyms pretends to take


def kernel_btf(obj: ObjectSpec, features: FeatureSet) -> bytes | None:
    """Return what BTF_LOAD gets; None when the object or the kernel has no BTF.

    BtfError where a DATASEC or an extern is not what the ELF file and the object's other tables say.
    """
    if obj.btf is None or Feature.BTF not in features:
        return None
    with error_context("BTF for the kernel"):
        types = _Types(obj.btf)
        _rewrite_ksyms(types, obj.externs)
        _rewrite_kconfig(types, obj.externs)
        for layout in obj.datasecs.values():
            _complete_datasec(types, obj.btf, layout)
        _hide_functions(types, obj.subprograms.values())
        accepted = sanitize_types(types.all(), features)
        return encode_types(accepted, byteorder=obj.btf.byteorder, strings=obj.btf.strings)


class _Types:
    """The object's types as a list to change in place; new ones go to the end."""

    def __init__(self, btf: Btf) -> None:
        self._types: list[BtfType] = [Void(), *map(btf.type_by_id, range(1, len(btf)))]
        self._int32 = 0
        self._datasecs: dict[str, list[int]] = {}
        for type_id, btf_type in enumerate(self._types):
            if isinstance(btf_type, Datasec):
                self._datasecs.setdefault(btf_type.name, []).append(type_id)

    def __getitem__(self, type_id: int) -> BtfType:
        return self._types[type_id]

    def __setitem__(self, type_id: int, changed: BtfType) -> None:
        self._types[type_id] = changed

    def all(self) -> list[BtfType]:
        """Return the types without void."""
        return self._types[1:]

    def add(self, btf_type: BtfType) -> int:
        """Return the id of the new type."""
        self._types.append(btf_type)
        return len(self._types) - 1

    def datasecs(self, name: str) -> Iterator[tuple[int, Datasec]]:
        """Yield (id, DATASEC) of that name."""
        for type_id in self._datasecs.get(name, ()):
            datasec = self._types[type_id]
            if isinstance(datasec, Datasec):
                yield type_id, datasec

    def functions(self) -> Iterator[tuple[int, Func]]:
        """Yield (id, FUNC)."""
        for type_id, btf_type in enumerate(self._types):
            if isinstance(btf_type, Func):
                yield type_id, btf_type

    def int32(self) -> int:
        """Return the id of the first integer of 32 bits, one added if there is none."""
        bits = 8 * KSYM_SIZE
        if not self._int32:
            found = (i for i, btf_type in enumerate(self._types) if isinstance(btf_type, Int) and btf_type.bits == bits)
            self._int32 = next(found, 0) or self.add(Int("int", KSYM_SIZE, IntEncoding.SIGNED, 0, bits))
        return self._int32


def _complete_datasec(types: _Types, btf: Btf, layout: DatasecLayout) -> None:
    """Fill in size and offsets, sort by offset, make hidden variables static."""
    for type_id, datasec in types.datasecs(layout.name):
        types[type_id] = complete_datasec(btf, datasec, layout)
        for row in datasec.vars:
            variable = types[row.type_id]
            if isinstance(variable, Var) and variable.linkage == Linkage.GLOBAL:
                types[row.type_id] = replace(variable, linkage=int(effective_linkage(variable, layout)))


def _rewrite_ksyms(types: _Types, externs: Mapping[str, ExternSpec]) -> None:
    """Turn the externs of .ksyms into variables of 4 bytes, since the kernel takes no extern in a DATASEC."""
    for type_id, datasec in islice(types.datasecs(KSYMS_SECTION), 1):
        dummy = 0
        if any(types[row.type_id].kind is BtfKind.FUNC for row in datasec.vars):
            dummy = types.add(Var(DUMMY_KSYM, types.int32(), int(Linkage.GLOBAL)))
        rows = []
        for number, row in enumerate(datasec.vars):
            _known_extern(types, row, externs)
            rows.append(SecVar(_ksym_variable(types, row.type_id, dummy), number * KSYM_SIZE, KSYM_SIZE))
        types[type_id] = replace(datasec, size=len(rows) * KSYM_SIZE, vars=tuple(rows))


def _ksym_variable(types: _Types, type_id: int, dummy: int) -> int:
    """Return the id of the variable that stands for the extern."""
    match types[type_id]:
        case Func(type_id=proto_id) as function:
            types[type_id] = replace(function, linkage=int(Linkage.GLOBAL))
            proto = types[proto_id]
            if isinstance(proto, FuncProto):
                params = tuple((name or (DUMMY_KSYM if of else ""), of) for name, of in proto.params)
                types[proto_id] = replace(proto, params=params)
            return dummy
        case Var() as variable:
            types[type_id] = replace(variable, type_id=types.int32(), linkage=int(Linkage.GLOBAL))
            return type_id
    raise BtfError(f"DATASEC '{KSYMS_SECTION}' holds type [{type_id}], want functions and variables")


def _rewrite_kconfig(types: _Types, externs: Mapping[str, ExternSpec]) -> None:
    """Give the externs of .kconfig the places their values have in the map."""
    for type_id, datasec in islice(types.datasecs(KCONFIG_MAP), 1):
        rows = []
        for row in datasec.vars:
            extern = _known_extern(types, row, externs)
            variable = types[row.type_id]
            if not isinstance(variable, Var):
                raise BtfError(f"DATASEC '{KCONFIG_MAP}' holds type [{row.type_id}], want variables")
            types[row.type_id] = replace(variable, linkage=int(Linkage.GLOBAL))
            rows.append(replace(row, offset=extern.offset))
        ends = [externs[types[row.type_id].name].offset + externs[types[row.type_id].name].size for row in rows]
        types[type_id] = _in_order(replace(datasec, size=max(ends, default=0), vars=tuple(rows)))


def _known_extern(types: _Types, row: SecVar, externs: Mapping[str, ExternSpec]) -> ExternSpec:
    name = types[row.type_id].name
    if name not in externs:
        raise BtfError(f"extern '{name}' has BTF, but no symbol in the file")
    return externs[name]


def _in_order(datasec: Datasec) -> Datasec:
    return replace(datasec, vars=tuple(sorted(datasec.vars, key=lambda row: row.offset)))


def _hide_functions(types: _Types, subprograms: Iterable[FunctionSpec]) -> None:
    """Make hidden subprograms static, so that the verifier checks them with what their caller knows."""
    hidden = {function.name for function in subprograms if function.static_linkage}
    for type_id, function in types.functions():
        if function.linkage == Linkage.GLOBAL and function.name in hidden:
            types[type_id] = replace(function, linkage=int(Linkage.STATIC))
            hidden.discard(function.name)

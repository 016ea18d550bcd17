"""The BTF given to the kernel: what the compiler leaves to the loader filled in (libbpf.c, btf_fixup_datasec).

Ids and string offsets of the object's BTF keep their meaning, so that func_info, line_info and maps need no change.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.sanitize import sanitize_types
from xdploaderd.btf.types import (
    BtfKind,
    Datasec,
    Func,
    FuncProto,
    Int,
    IntEncoding,
    Linkage,
    SecVar,
    Var,
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
        types = BtfEdit(obj.btf)
        for type_id, datasec in tuple(types.of_kind(BtfKind.DATASEC)):
            if isinstance(datasec, Datasec):
                _rewrite_datasec(types, type_id, datasec, obj)
        _hide_functions(types, obj.subprograms.values())
        sanitize_types(types, features)
        return types.encode()


def _rewrite_datasec(types: BtfEdit, type_id: int, datasec: Datasec, obj: ObjectSpec) -> None:
    if datasec.name == KSYMS_SECTION:
        types[type_id] = _rewrite_ksyms(types, datasec, obj.externs)
    elif datasec.name == KCONFIG_MAP:
        types[type_id] = _rewrite_kconfig(types, datasec, obj.externs)
    elif datasec.name in obj.datasecs:
        types[type_id] = _complete_datasec(types, datasec, obj.datasecs[datasec.name])


def _int32(types: BtfEdit) -> int:
    """Return the id of the first integer of 32 bits, one added if there is none."""
    bits = 8 * KSYM_SIZE
    found = (type_id for type_id, t in types.of_kind(BtfKind.INT) if isinstance(t, Int) and t.bits == bits)
    return next(found, 0) or types.add(Int("int", KSYM_SIZE, IntEncoding.SIGNED, 0, bits))


def _complete_datasec(types: BtfEdit, datasec: Datasec, layout: DatasecLayout) -> Datasec:
    """Fill in size and offsets, sort by offset, make hidden variables static."""
    completed = complete_datasec(types.btf, datasec, layout)
    for row in datasec.vars:
        variable = types[row.type_id]
        if isinstance(variable, Var) and variable.linkage == Linkage.GLOBAL:
            linkage = effective_linkage(variable, layout)
            if linkage != variable.linkage:
                types[row.type_id] = variable._replace(linkage=int(linkage))
    return completed


def _rewrite_ksyms(types: BtfEdit, datasec: Datasec, externs: Mapping[str, ExternSpec]) -> Datasec:
    """Turn the externs of .ksyms into variables of 4 bytes, since the kernel takes no extern in a DATASEC."""
    int32 = cache(lambda: _int32(types))
    dummy = 0
    if any(types[row.type_id].kind is BtfKind.FUNC for row in datasec.vars):
        dummy = types.add(Var(DUMMY_KSYM, int32(), int(Linkage.GLOBAL)))
    rows = []
    for number, row in enumerate(datasec.vars):
        _known_extern(types, row, externs)
        variable = _ksym_variable(types, row.type_id, dummy, int32)
        rows.append(SecVar(variable, number * KSYM_SIZE, KSYM_SIZE))
    return datasec._replace(size=len(rows) * KSYM_SIZE, vars=tuple(rows))


def _ksym_variable(types: BtfEdit, type_id: int, dummy: int, int32: Callable[[], int]) -> int:
    """Return the id of the variable that stands for the extern."""
    match types[type_id]:
        case Func(type_id=proto_id) as function:
            types[type_id] = function._replace(linkage=int(Linkage.GLOBAL))
            proto = types[proto_id]
            if isinstance(proto, FuncProto):
                params = tuple((name or (DUMMY_KSYM if of else ""), of) for name, of in proto.params)
                types[proto_id] = proto._replace(params=params)
            return dummy
        case Var() as variable:
            types[type_id] = variable._replace(type_id=int32(), linkage=int(Linkage.GLOBAL))
            return type_id
    raise BtfError(f"DATASEC '{KSYMS_SECTION}' holds type [{type_id}], want functions and variables")


def _rewrite_kconfig(types: BtfEdit, datasec: Datasec, externs: Mapping[str, ExternSpec]) -> Datasec:
    """Give the externs of .kconfig the places their values have in the map."""
    rows = []
    for row in datasec.vars:
        extern = _known_extern(types, row, externs)
        variable = types[row.type_id]
        if not isinstance(variable, Var):
            raise BtfError(f"DATASEC '{KCONFIG_MAP}' holds type [{row.type_id}], want variables")
        types[row.type_id] = variable._replace(linkage=int(Linkage.GLOBAL))
        rows.append(row._replace(offset=extern.offset))
    ends = [externs[types[row.type_id].name].offset + externs[types[row.type_id].name].size for row in rows]
    return _in_order(datasec._replace(size=max(ends, default=0), vars=tuple(rows)))


def _known_extern(types: BtfEdit, row: SecVar, externs: Mapping[str, ExternSpec]) -> ExternSpec:
    name = types[row.type_id].name
    if name not in externs:
        raise BtfError(f"extern '{name}' has BTF, but no symbol in the file")
    return externs[name]


def _in_order(datasec: Datasec) -> Datasec:
    return datasec._replace(vars=tuple(sorted(datasec.vars, key=lambda row: row.offset)))


def _hide_functions(types: BtfEdit, subprograms: Iterable[FunctionSpec]) -> None:
    """Make hidden subprograms static, so that the verifier checks them with what their caller knows."""
    hidden = {function.name for function in subprograms if function.static_linkage}
    if not hidden:
        return
    for type_id, function in types.of_kind(BtfKind.FUNC):
        if isinstance(function, Func) and function.linkage == Linkage.GLOBAL and function.name in hidden:
            types[type_id] = function._replace(linkage=int(Linkage.STATIC))
            hidden.discard(function.name)

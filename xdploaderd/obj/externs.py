"""Extern symbols: kernel configuration, kernel variables and kfuncs (libbpf.c, bpf_object__collect_externs)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Enum, Func, Int, Linkage, Var
from xdploaderd.errors import ObjectError, error_context
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import SHN_UNDEF, ElfImage, SymBind, Symbol, SymType
from xdploaderd.obj.kconfig import ValueKind, find_value_type
from xdploaderd.obj.layout import KSYMS_SECTION, DescribedSection
from xdploaderd.obj.spec import KCONFIG_MAP, ExternKind, ExternSpec


def is_extern(symbol: Symbol) -> bool:
    """Tell whether a symbol is to be found outside the object."""
    return (
        symbol.section == SHN_UNDEF
        and symbol.type == SymType.NOTYPE
        and symbol.bind in (SymBind.GLOBAL, SymBind.WEAK)
        and bool(symbol.name)
    )


def read_externs(
    image: ElfImage, btf: Btf | None, described: Mapping[str, DescribedSection]
) -> Mapping[str, ExternSpec]:
    """Return the externs by name, those of .kconfig first and laid out; ObjectError for what BTF does not explain."""
    symbols = [symbol for symbol in image.undefined_symbols() if is_extern(symbol)]
    if not symbols:
        return {}
    if btf is None:
        raise ObjectError(f"extern '{symbols[0].name}' needs BTF (build the object with -g)")
    members = {name: dict(_members(btf, described.get(name))) for name in (KCONFIG_MAP, KSYMS_SECTION)}
    found: dict[str, ExternSpec] = {}
    for symbol in symbols:
        with error_context(f"extern '{symbol.name}'"):
            found[symbol.name] = _read_extern(btf, symbol, members)
    kconfig = (extern for extern in found.values() if extern.kind is ExternKind.KCONFIG)
    laid_out = {extern.name: extern for extern in _lay_out(btf, kconfig)}
    size = max((extern.offset + extern.size for extern in laid_out.values()), default=0)
    if size > image.limits.kconfig_bytes:
        raise over_limit(image.limits, "kconfig_bytes", f"externs of .kconfig take {size} bytes", "filled")
    return laid_out | {name: extern for name, extern in found.items() if name not in laid_out}


def _members(btf: Btf, described: DescribedSection | None) -> Iterator[tuple[str, int]]:
    """Yield (name, type id) of the variables and functions of a section."""
    for entry in described.datasec.vars if described else ():
        yield btf.name_of(entry.type_id), entry.type_id


def _read_extern(btf: Btf, symbol: Symbol, members: Mapping[str, Mapping[str, int]]) -> ExternSpec:
    kconfig = symbol.name in members[KCONFIG_MAP]
    type_id = members[KCONFIG_MAP if kconfig else KSYMS_SECTION].get(symbol.name)
    if type_id is None:
        raise ObjectError("is described by BTF in no section known for externs, want .kconfig or .ksyms")
    declared = btf.type_by_id(type_id)
    if not isinstance(declared, Var | Func) or declared.linkage != Linkage.EXTERN:
        raise ObjectError("is not declared extern in BTF")
    weak = symbol.bind == SymBind.WEAK
    if isinstance(declared, Func):
        if kconfig:
            raise ObjectError("is a function, want a variable in .kconfig")
        return ExternSpec(name=symbol.name, kind=ExternKind.KFUNC, type_id=type_id, weak=weak)
    if kconfig:
        if find_value_type(btf, declared.type_id) is None:
            raise ObjectError(f"has a type that no configuration value fits, want one of {', '.join(ValueKind)}")
        size = btf.size_of(declared.type_id)
        return ExternSpec(name=symbol.name, kind=ExternKind.KCONFIG, type_id=declared.type_id, weak=weak, size=size)
    typeless = btf.kind_of(btf.skip_mods_and_typedefs(declared.type_id)) is BtfKind.VOID
    kind = ExternKind.KSYM_TYPELESS if typeless else ExternKind.KSYM_TYPED
    return ExternSpec(name=symbol.name, kind=kind, type_id=declared.type_id, weak=weak)


def _lay_out(btf: Btf, externs: Iterator[ExternSpec]) -> Iterator[ExternSpec]:
    """Yield the externs of .kconfig with their offsets: by alignment descending, size ascending, name."""
    offset = 0
    aligned = [(_alignment(btf, extern.type_id), extern) for extern in externs]
    for alignment, extern in sorted(aligned, key=lambda item: (-item[0], item[1].size, item[1].name)):
        offset = -(-offset // alignment) * alignment
        yield replace(extern, offset=offset)
        offset += extern.size


def _alignment(btf: Btf, type_id: int) -> int:
    found = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    return min(btf.size_of(type_id), btf.pointer_size) if isinstance(found, Int | Enum) else 1

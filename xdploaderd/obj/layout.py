"""Where variables of data sections lie: ELF symbols complete the DATASECs of BTF (libbpf.c, btf_fixup_datasec)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Datasec, Linkage, Var
from xdploaderd.errors import ObjectError
from xdploaderd.obj.elf import ElfImage, Symbol, SymType
from xdploaderd.obj.spec import DatasecLayout

EXTERN_SECTIONS = frozenset({".kconfig", ".ksyms"})


def find_datasec(btf: Btf, name: str) -> Datasec | None:
    """Return the DATASEC of a section."""
    for type_id in btf.ids_by_name(name, {BtfKind.DATASEC}):
        found = btf.type_by_id(type_id)
        if isinstance(found, Datasec):
            return found
    return None


def datasec_layouts(image: ElfImage, btf: Btf) -> Mapping[str, DatasecLayout]:
    """Return the layout of every section that BTF describes; ObjectError where section or variable is missing."""
    symbols = {
        symbol.name: symbol
        for symbol in reversed(image.symbols)
        if symbol.type == SymType.OBJECT and not symbol.is_local()
    }
    return {
        datasec.name: _layout_of(image, btf, datasec, symbols)
        for datasec in _datasecs(btf)
        if datasec.name not in EXTERN_SECTIONS
    }


def complete_datasec(btf: Btf, datasec: Datasec, layout: DatasecLayout) -> Datasec:
    """Return the DATASEC with its size and the offsets of its global variables filled in, variables by offset."""
    found = datasec.vars
    if not datasec.size:
        found = tuple(
            replace(var, offset=layout.offsets.get(btf.name_of(var.type_id), var.offset)) for var in datasec.vars
        )
    ordered = tuple(sorted(found, key=lambda var: var.offset))
    return replace(datasec, size=datasec.size or layout.size, vars=ordered)


def effective_linkage(var: Var, layout: DatasecLayout) -> int:
    """Return the linkage the kernel is told: a hidden variable is seen by nobody outside its object."""
    return Linkage.STATIC if var.name in layout.hidden else var.linkage


def _datasecs(btf: Btf) -> Iterator[Datasec]:
    for type_id in range(btf.first_id, len(btf)):
        if btf.kind_of(type_id) is BtfKind.DATASEC:
            datasec = btf.type_by_id(type_id)
            if isinstance(datasec, Datasec):
                yield datasec


def _layout_of(image: ElfImage, btf: Btf, datasec: Datasec, symbols: Mapping[str, Symbol]) -> DatasecLayout:
    section = image.section(datasec.name)
    size = section.size if section else 0
    if not (datasec.size or size):
        raise ObjectError(f"BTF describes section '{datasec.name}', which is missing or empty")
    found = dict(_variables(btf, datasec, symbols))
    return DatasecLayout(
        name=datasec.name,
        size=size or datasec.size,
        offsets={name: symbol.value for name, symbol in found.items()},
        hidden=frozenset(name for name, symbol in found.items() if symbol.is_hidden()),
    )


def _variables(btf: Btf, datasec: Datasec, symbols: Mapping[str, Symbol]) -> Iterator[tuple[str, Symbol]]:
    for entry in datasec.vars:
        var = btf.type_by_id(entry.type_id)
        if not isinstance(var, Var):
            raise ObjectError(
                f"BTF section '{datasec.name}' has a {var.kind.name.lower()} '{var.name}', want variables"
            )
        if var.linkage != Linkage.GLOBAL:
            continue
        if var.name not in symbols:
            raise ObjectError(f"variable '{var.name}' of section '{datasec.name}' has no symbol")
        yield var.name, symbols[var.name]

"""Where variables of data sections lie: ELF symbols complete the DATASECs of BTF (libbpf.c, btf_fixup_datasec)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, Datasec, Linkage, Var
from xdploaderd.errors import ObjectError
from xdploaderd.limits import over_limit
from xdploaderd.obj.elf import ElfImage, Symbol, SymType
from xdploaderd.obj.spec import KCONFIG_MAP, DatasecLayout

KSYMS_SECTION = ".ksyms"


@dataclass(frozen=True, slots=True)
class DescribedSection:
    """A section as BTF describes it: `datasec` has size and offsets filled in, and its variables by offset.

    `layout` None: a section of externs, which lies in no file.
    """

    type_id: int
    datasec: Datasec
    layout: DatasecLayout | None = None


def describe_sections(image: ElfImage, btf: Btf) -> Mapping[str, DescribedSection]:
    """Return what BTF says of each section, by name; ObjectError where section, symbol or variable is missing."""
    symbols = {
        symbol.name: symbol for symbol in reversed(image.symbols.of_type(SymType.OBJECT)) if not symbol.is_local()
    }
    found: dict[str, DescribedSection] = {}
    variables = 0
    for type_id, datasec in _datasecs(btf):
        if datasec.name in found:
            raise ObjectError(f"BTF describes section '{datasec.name}' twice")
        variables += len(datasec.vars)
        if variables > image.limits.variables:
            raise over_limit(image.limits, "variables", "BTF describes too many variables", "taken")
        found[datasec.name] = _describe(image, btf, type_id, datasec, symbols)
    return found


def complete_datasec(btf: Btf, datasec: Datasec, layout: DatasecLayout) -> Datasec:
    """Return the DATASEC with size and offsets filled in and variables by offset; those of a linked object are kept."""
    entries = datasec.vars
    if not datasec.size:
        names = (btf.name_of(entry.type_id) for entry in entries)
        entries = tuple(
            entry._replace(offset=layout.offsets.get(name, entry.offset))
            for name, entry in zip(names, datasec.vars, strict=True)
        )
    ordered = tuple(sorted(entries, key=lambda entry: entry.offset))
    return datasec._replace(size=datasec.size or layout.size, vars=ordered)


def effective_linkage(var: Var, layout: DatasecLayout) -> int:
    """Return the linkage the kernel is told: a hidden variable is seen by nobody outside its object."""
    return Linkage.STATIC if var.name in layout.hidden else var.linkage


def _datasecs(btf: Btf) -> Iterator[tuple[int, Datasec]]:
    for type_id in btf.ids_of_kind(BtfKind.DATASEC):
        datasec = btf.type_by_id(type_id)
        if isinstance(datasec, Datasec):
            yield type_id, datasec


def _describe(
    image: ElfImage, btf: Btf, type_id: int, datasec: Datasec, symbols: Mapping[str, Symbol]
) -> DescribedSection:
    if datasec.name in (KCONFIG_MAP, KSYMS_SECTION):
        return DescribedSection(type_id, datasec)
    section = image.section(datasec.name)
    size = section.size if section else 0
    if not (datasec.size or size):
        raise ObjectError(f"BTF describes section '{datasec.name}', which is missing or empty")
    variables = dict(_variables(btf, datasec, symbols))
    layout = DatasecLayout(
        name=datasec.name,
        size=size or datasec.size,
        offsets={name: symbol.value for name, symbol in variables.items()},
        hidden=frozenset(name for name, symbol in variables.items() if symbol.is_hidden()),
    )
    return DescribedSection(type_id, complete_datasec(btf, datasec, layout), layout)


def _variables(btf: Btf, datasec: Datasec, symbols: Mapping[str, Symbol]) -> Iterator[tuple[str, Symbol]]:
    """Yield the global variables of a section with their symbols."""
    for entry in datasec.vars:
        var = btf.type_by_id(entry.type_id)
        if not isinstance(var, Var):
            kind = var.kind.name.lower()
            raise ObjectError(f"BTF section '{datasec.name}' has a {kind} '{var.name}', want variables")
        if var.linkage != Linkage.GLOBAL:
            continue
        if var.name not in symbols:
            raise ObjectError(f"variable '{var.name}' of section '{datasec.name}' has no symbol")
        yield var.name, symbols[var.name]

"""What every extern of an object stands for in a target kernel (libbpf.c, bpf_object__resolve_externs)."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

from xdploaderd.errors import LoaderError, RelocationError, UnknownFactError
from xdploaderd.limits import over_limit
from xdploaderd.obj.kallsyms import find_addresses
from xdploaderd.obj.kconfig import KconfigValues, kconfig_values
from xdploaderd.obj.ksyms import Address, Resolved, resolve_ksym
from xdploaderd.obj.spec import KCONFIG_MAP, ExternKind, MapSpec, ObjectSpec, TargetKernel


@dataclass(frozen=True, slots=True)
class KconfigValue:
    """A value in the .kconfig map, at a byte offset."""

    map_name: str
    offset: int


ExternValue = Resolved | KconfigValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternValues:
    """Values by name; an extern without one is an error only for the programs that refer to it.

    `unknown` tells why a value is not known that stands at zero for the time being.
    """

    values: Mapping[str, ExternValue]
    errors: Mapping[str, LoaderError]
    order: Mapping[str, int]
    kconfig: KconfigValues | None = None
    unknown: Mapping[str, LoaderError] = field(default_factory=dict)

    def value_of(self, symbol: str) -> ExternValue:
        """Return the value; the error why there is none."""
        if symbol in self.errors:
            raise copy(self.errors[symbol])  # each raising adds its own places
        if symbol not in self.values:
            raise RelocationError(f"extern '{symbol}' is not one of the object")
        return self.values[symbol]


def resolve_externs(obj: ObjectSpec, target: TargetKernel, *, lenient: bool = False) -> ExternValues:
    """Look up every extern of the object in `target`; LimitError for too many.

    With `lenient`, what the target's missing files keep unknown is zero and told in `unknown`.
    """
    if len(obj.externs) > obj.limits.externs:
        raise over_limit(obj.limits, "externs", f"object with {len(obj.externs)} externs", "looked up")
    values: dict[str, ExternValue] = {}
    kconfig_map = next((spec for spec in obj.maps.values() if spec.section == KCONFIG_MAP), None)
    kconfig = _kconfig_of(obj, target, kconfig_map)
    errors = dict(kconfig.errors) if kconfig else {}
    addresses = _typeless_addresses(obj, target)
    for name, extern in obj.externs.items():
        if extern.kind is ExternKind.KCONFIG:
            values[name] = KconfigValue(kconfig_map.name if kconfig_map else KCONFIG_MAP, extern.offset)
            continue
        try:
            values[name] = resolve_ksym(extern, obj.btf, target, addresses)
        except LoaderError as error:
            errors[name] = error
    unknown = {name: error for name, error in errors.items() if lenient and isinstance(error, UnknownFactError)}
    for name in unknown:
        del errors[name]
        values.setdefault(name, Address(0))
    order = {name: number for number, name in enumerate(obj.externs)}
    return ExternValues(values=values, errors=errors, order=order, kconfig=kconfig, unknown=unknown)


def _typeless_addresses(obj: ObjectSpec, target: TargetKernel) -> Mapping[str, frozenset[int]] | None:
    names = {name for name, extern in obj.externs.items() if extern.kind is ExternKind.KSYM_TYPELESS}
    if target.kallsyms is None:
        return None
    return find_addresses(target.kallsyms, names) if names else {}


def _kconfig_of(obj: ObjectSpec, target: TargetKernel, kconfig_map: MapSpec | None) -> KconfigValues | None:
    if kconfig_map is None or obj.btf is None:
        return None
    return kconfig_values(obj.externs.values(), obj.btf, target, kconfig_map.value_size)

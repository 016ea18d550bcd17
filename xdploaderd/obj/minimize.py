"""BTFGen: of a kernel's BTF, what the CO-RE records of some objects need (bpftool gen.c, minimize_btf)."""

from collections.abc import Iterable
from typing import Protocol

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import BtfExt
from xdploaderd.btf.subset import subset
from xdploaderd.errors import ObjectError, error_context
from xdploaderd.insn import INSN_SIZE
from xdploaderd.limits import Limits, over_limit
from xdploaderd.printable import quoted
from xdploaderd.relo_core.resolve import CorePlace, CoreResolver
from xdploaderd.relo_core.used_types import UsedTypes


class WithRecords(Protocol):
    """An object with CO-RE records: an ObjectSpec, or the CoreObject of a file that need not be whole otherwise."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def btf(self) -> Btf | None:
        """Its types."""

    @property
    def btf_ext(self) -> BtfExt | None:
        """Its records."""

    @property
    def limits(self) -> Limits:
        """Of its number of records."""


def minimize(target: Btf, objects: Iterable[WithRecords]) -> bytes:
    """Return the part of `target` with which every CO-RE record of `objects` comes to what it comes to with the whole.

    target_type_id alone gives another number: that of the type in the result, which is a blob of its own. Records of
    all sections count, autoload or not; a record without a match adds nothing, as does an object without records.
    Raises CoreRelocationError, naming object, section and record, for a record that cannot be decided, LimitError for
    too many, and ObjectError for an object without .BTF.ext, which was stripped.
    """
    used = UsedTypes(target)
    for obj in objects:
        with error_context(f"object {quoted(obj.name)}"):
            _add_object(used, target, obj)
    return subset(target, used.marks)


def _add_object(used: UsedTypes, target: Btf, obj: WithRecords) -> None:
    if obj.btf is None or obj.btf_ext is None:
        raise ObjectError("it has no section '.BTF' with '.BTF.ext': build it with -g and do not strip it")
    count = sum(map(len, obj.btf_ext.core_relos.values()))
    if count > obj.limits.core_records:
        raise over_limit(obj.limits, "core_records", f"object with {count} CO-RE records", "applied")
    resolver = CoreResolver(obj.btf, (target,))
    for section, records in obj.btf_ext.core_relos.items():
        with error_context(f"section {quoted(section)}"):
            for number, relo in enumerate(records):
                at = CorePlace(section, section, number, relo.insn_off // INSN_SIZE)
                used.add(resolver.resolve(relo, at))

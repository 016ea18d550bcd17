"""Addresses of kernel symbols from the text of /proc/kallsyms (libbpf.c, libbpf_kallsyms_parse)."""

from collections.abc import Collection, Mapping

from xdploaderd.errors import RelocationError
from xdploaderd.printable import quoted

_LLVM_SUFFIX = ".llvm."  # of static data that link-time optimisation made global (type 'd')
_FIELDS = 3  # address, type, name; a module's name may follow


def find_addresses(kallsyms: str, names: Collection[str]) -> Mapping[str, frozenset[int]]:
    """Return every address of each name in one pass over the text; names that are not there are left out."""
    found: dict[str, set[int]] = {}
    for line in kallsyms.splitlines():
        address, kind, symbol = (*line.split(None, _FIELDS)[:_FIELDS], "", "", "")[:_FIELDS]
        if kind == "d" and _LLVM_SUFFIX in symbol:
            symbol = symbol.partition(_LLVM_SUFFIX)[0]
        if symbol in names:
            found.setdefault(symbol, set()).add(_parse_address(address))
    return {name: frozenset(addresses) for name, addresses in found.items()}


def _parse_address(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise RelocationError(f"kernel symbol list has the address {quoted(text)}, want hexadecimal digits") from None

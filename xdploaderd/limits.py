"""Bounds on what one object file may ask for, checked before the first bpf(2) call, and their change by name."""

from collections.abc import Mapping
from typing import NamedTuple

from xdploaderd.errors import LimitError, UsageError
from xdploaderd.printable import quoted

MIB = 1 << 20
LIMIT_MAX = 1 << 40  # the largest that any can be set to


class Limits(NamedTuple):
    """Counts, and sizes in bytes.

    1,000,000 instructions are what the kernel takes. Of BTF it takes 16 MiB, but to open and rewrite a million types
    takes 8 s, and objects of compilers have well under 1 MiB. The kernel's own tests have up to 74 programs an object.
    """

    file_size: int = 16 * MIB
    sections: int = 4096
    symbols: int = 65_536
    relocations: int = 65_536  # calls that need none included; the largest object known has 8,000
    name_length: int = 1024
    name_bytes: int = 8 * MIB
    btf_size: int = 4 * MIB
    variables: int = 16_384
    instructions: int = 1_000_000
    programs: int = 512
    maps: int = 256
    map_bytes: int = 256 * MIB  # value x entries x CPUs of all maps that are allocated when made
    externs: int = 1024
    core_records: int = 16_384
    linked_instructions: int = 4_000_000  # of all programs together, each with its own copies of subprograms
    kconfig_bytes: int = 65_536  # of all externs of .kconfig together
    data_bytes: int = 256 * MIB  # of all data maps of an object together


DEFAULT_LIMITS = Limits()
LIMIT_NAMES = Limits._fields


def limits_with(values: Mapping[str, int], limits: Limits = DEFAULT_LIMITS) -> Limits:
    """Return the limits with these set by name. Raises UsageError for a name that is none and a number too large."""
    for name, value in values.items():
        if problem := limit_problem(name, value):
            raise UsageError(problem)
    return limits._replace(**values)


def limit_problem(name: str, value: int) -> str:
    """Return what is wrong with setting the limit of that name; empty when nothing is."""
    if name not in LIMIT_NAMES:
        return f"there is no limit {quoted(name)}, want one of {', '.join(LIMIT_NAMES)}"
    if not 0 <= value <= LIMIT_MAX:
        return f"limit {quoted(name)}: want a number from 0 to {LIMIT_MAX}"
    return ""


def over_limit(limits: Limits, name: str, found: str, done: str) -> LimitError:
    """Return the error for what was `found` over the limit of that name; `done` is what the rest would be: `read`."""
    return LimitError(f"{found}, at most {getattr(limits, name)} are {done} (limit {name})", fields={"limit": name})

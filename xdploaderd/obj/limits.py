"""Bounds on what one object file may ask for, checked before anything is created."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Counts, and sizes in bytes.

    The kernel takes 1,000,000 instructions and 16 MiB of BTF; compilers describe only types that are used, so that the
    largest objects known have well under 1 MiB of it.
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
    externs: int = 1024
    core_records: int = 16_384
    linked_instructions: int = 4_000_000  # of all programs together, each with its own copies of subprograms
    kconfig_bytes: int = 65_536  # of all externs of .kconfig together
    data_bytes: int = 256 * MIB  # of all data maps of an object together


DEFAULT_LIMITS = Limits()

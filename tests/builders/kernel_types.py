"""The types by which the BTF of a kernel tells what it knows: map types, program types, helpers, commands."""

from tests.builders.btf import U32
from xdploaderd.btf.types import BtfKind, BtfType, Enum


def enum(name: str, *values: tuple[str, int]) -> Enum:
    """Return an enumeration of 4 bytes."""
    return Enum(BtfKind.ENUM, name, 4, False, values)


def _numbered(name: str, highest: int) -> Enum:
    return enum(name, *((f"{name.upper()}_{number}", number) for number in range(highest + 1)))


def kernel_types(*, maps: int = 30, helpers: int = 211, programs: int = 32, hooks: int = 60) -> list[BtfType]:
    """Return the types of a kernel that knows all up to these numbers."""
    return [
        U32,
        _numbered("bpf_map_type", maps),
        _numbered("bpf_prog_type", programs),
        _numbered("bpf_attach_type", hooks),
        _numbered("bpf_func_id", helpers),
        _numbered("bpf_cmd", 36),
        enum("", ("BPF_F_NO_PREALLOC", 1), ("BPF_F_RDONLY_PROG", 0x80), ("BPF_F_MMAPABLE", 0x400)),
    ]

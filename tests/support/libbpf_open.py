"""What Debian's libbpf says of an object it has opened, through ctypes: the oracle for open_object."""

import ctypes
import ctypes.util
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import libbpf


@dataclass(frozen=True)
class LibbpfMap:
    """A struct bpf_map before load."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    numa_node: int
    map_extra: int
    key_type_id: int
    value_type_id: int
    contents: bytes | None


@dataclass(frozen=True)
class LibbpfProgram:
    """A struct bpf_program before load."""

    name: str
    section: str
    type: int
    attach_type: int
    autoload: bool
    insn_count: int


@dataclass(frozen=True)
class LibbpfObject:
    """A struct bpf_object before load."""

    name: str
    maps: tuple[LibbpfMap, ...]
    programs: tuple[LibbpfProgram, ...]


def _library() -> ctypes.CDLL:
    library = libbpf()
    library.libbpf_set_print.argtypes = [ctypes.c_void_p]
    library.libbpf_set_print(None)
    pointer, number, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p
    signatures = {
        "bpf_object__open_file": (pointer, [text, pointer]),
        "bpf_object__close": (None, [pointer]),
        "bpf_object__name": (text, [pointer]),
        "bpf_object__next_map": (pointer, [pointer, pointer]),
        "bpf_object__next_program": (pointer, [pointer, pointer]),
        "bpf_map__name": (text, [pointer]),
        "bpf_map__map_extra": (ctypes.c_uint64, [pointer]),
        "bpf_map__initial_value": (pointer, [pointer, ctypes.POINTER(ctypes.c_size_t)]),
        "bpf_program__name": (text, [pointer]),
        "bpf_program__section_name": (text, [pointer]),
        "bpf_program__autoload": (ctypes.c_bool, [pointer]),
        "bpf_program__insn_cnt": (ctypes.c_size_t, [pointer]),
        "bpf_program__type": (number, [pointer]),
        "bpf_program__expected_attach_type": (number, [pointer]),
    }
    attributes = "type key_size value_size max_entries map_flags numa_node btf_key_type_id btf_value_type_id"
    for attribute in attributes.split():
        signatures[f"bpf_map__{attribute}"] = (number, [pointer])
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def open_with_libbpf(path: Path) -> LibbpfObject | None:
    """Return what libbpf reads from a file; None when it refuses."""
    library = _library()
    handle = library.bpf_object__open_file(str(path).encode(), None)
    if not handle:
        return None
    try:
        return LibbpfObject(
            library.bpf_object__name(handle).decode(),
            tuple(_map(library, item) for item in _walk(library.bpf_object__next_map, handle)),
            tuple(_program(library, item) for item in _walk(library.bpf_object__next_program, handle)),
        )
    finally:
        library.bpf_object__close(handle)


def _walk(step: "ctypes._NamedFuncPointer", handle: int) -> list[int]:
    found, item = [], step(handle, None)
    while item:
        found.append(item)
        item = step(handle, item)
    return found


def _map(library: ctypes.CDLL, item: int) -> LibbpfMap:
    size = ctypes.c_size_t()
    contents = library.bpf_map__initial_value(item, ctypes.byref(size))
    return LibbpfMap(
        library.bpf_map__name(item).decode(),
        library.bpf_map__type(item),
        library.bpf_map__key_size(item),
        library.bpf_map__value_size(item),
        library.bpf_map__max_entries(item),
        library.bpf_map__map_flags(item),
        library.bpf_map__numa_node(item),
        library.bpf_map__map_extra(item),
        library.bpf_map__btf_key_type_id(item),
        library.bpf_map__btf_value_type_id(item),
        ctypes.string_at(contents, size.value) if contents else None,
    )


def _program(library: ctypes.CDLL, item: int) -> LibbpfProgram:
    return LibbpfProgram(
        library.bpf_program__name(item).decode(),
        library.bpf_program__section_name(item).decode(),
        library.bpf_program__type(item),
        library.bpf_program__expected_attach_type(item),
        library.bpf_program__autoload(item),
        library.bpf_program__insn_cnt(item),
    )

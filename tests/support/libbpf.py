"""What libbpf makes of an object, through ctypes: its relocated instructions and the BTF it uploaded."""

import ctypes
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import bpftool_json

INSN_SIZE = 8
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_silent = _PRINT(lambda _level, _format, _arguments: 0)


@dataclass(frozen=True)
class Loaded:
    """One object after bpf_object__load: instructions by program, maps' fields by name, and `bpftool btf dump`."""

    error: int
    programs: Mapping[str, bytes]
    tags: Mapping[str, str]
    maps: Mapping[str, tuple[int, int, int, int, int]]  # type, key size, value size, entries, flags
    contents: Mapping[str, bytes]  # of data maps, by name
    btf: str


class _BtfInfo(ctypes.Structure):
    """struct bpf_btf_info."""

    _fields_ = (
        ("btf", ctypes.c_uint64),
        ("btf_size", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("name", ctypes.c_uint64),
        ("name_len", ctypes.c_uint32),
        ("kernel_btf", ctypes.c_uint32),
    )


class _ProgInfo(ctypes.Structure):
    """The head of struct bpf_prog_info."""

    _fields_ = (("type", ctypes.c_uint32), ("id", ctypes.c_uint32), ("tag", ctypes.c_uint8 * 8))


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name in (
        "object__open_file",
        "object__next_program",
        "object__next_map",
        "program__insns",
        "map__initial_value",
    ):
        getattr(library, f"bpf_{name}").restype = ctypes.c_void_p
    for name in ("bpf_program__name", "bpf_map__name"):
        getattr(library, name).restype = ctypes.c_char_p
    library.bpf_program__insn_cnt.restype = ctypes.c_size_t
    library.libbpf_set_print(_silent)
    return library


def load(
    path: Path, *, untyped: int = 0, types: Mapping[str, int] | None = None, autoload: bool | None = None
) -> Loaded:
    """Load `path`; `autoload` is set on every program.

    Programs whose section says nothing to this libbpf take their type from `types`, by name, else `untyped`.
    """
    library = _library()
    with _opened(library, path) as obj:
        _set_types(library, obj, types or {}, untyped)
        for _, prog in _programs(library, obj):
            if autoload is not None:
                library.bpf_program__set_autoload(prog, autoload)
        error = library.bpf_object__load(obj)
        library.bpf_object__unpin_maps(obj, None)
        programs = {
            name: _insns(library, prog)
            for name, prog in _programs(library, obj)
            if library.bpf_program__autoload(prog) & 1
        }
        btf_fd = library.bpf_object__btf_fd(obj)
        return Loaded(
            error=error,
            programs=programs,
            tags={
                name: _tag(library, prog) for name, prog in _programs(library, obj) if name in programs and not error
            },
            maps={name: _fields(library, bpf_map) for name, bpf_map in _maps(library, obj)},
            contents={name: _contents(library, bpf_map) for name, bpf_map in _maps(library, obj)},
            btf=_dump(library, btf_fd) if btf_fd >= 0 else "",
        )


def loads_one_by_one(path: Path, types: Mapping[str, int]) -> Mapping[str, bool]:
    """Return for each program that is loaded of itself whether the object loads with this one alone.

    OSError when libbpf does not open the object. Maps that were pinned are unpinned.
    """
    library = _library()
    with _opened(library, path) as obj:
        names = [name for name, prog in _programs(library, obj) if library.bpf_program__autoload(prog) & 1]
    return {name: _loads_alone(library, path, types, name) for name in names}


def _loads_alone(library: ctypes.CDLL, path: Path, types: Mapping[str, int], only: str) -> bool:
    with _opened(library, path) as obj:
        _set_types(library, obj, types, 0)
        for name, prog in _programs(library, obj):
            library.bpf_program__set_autoload(prog, name == only)
        error: int = library.bpf_object__load(obj)
        library.bpf_object__unpin_maps(obj, None)
        return error == 0


def _set_types(library: ctypes.CDLL, obj: ctypes.c_void_p, types: Mapping[str, int], untyped: int) -> None:
    for name, prog in _programs(library, obj):
        if not library.bpf_program__type(prog):
            library.bpf_program__set_type(prog, types.get(name, untyped))


def dump_btf_file(path: Path) -> str:
    """Return `bpftool btf dump file`."""
    return _bpftool("file", str(path))


@contextmanager
def _opened(library: ctypes.CDLL, path: Path) -> Iterator[ctypes.c_void_p]:
    address = library.bpf_object__open_file(str(path).encode(), None)
    if not address:
        raise OSError(ctypes.get_errno(), f"libbpf does not open {path.name}")
    obj = ctypes.c_void_p(address)
    try:
        yield obj
    finally:
        library.bpf_object__close(obj)


def _programs(library: ctypes.CDLL, obj: ctypes.c_void_p) -> Iterator[tuple[str, ctypes.c_void_p]]:
    at = None
    while (at := library.bpf_object__next_program(obj, ctypes.c_void_p(at))) is not None:
        yield library.bpf_program__name(ctypes.c_void_p(at)).decode(), ctypes.c_void_p(at)


def _insns(library: ctypes.CDLL, prog: ctypes.c_void_p) -> bytes:
    return ctypes.string_at(library.bpf_program__insns(prog), library.bpf_program__insn_cnt(prog) * INSN_SIZE)


def _tag(library: ctypes.CDLL, prog: ctypes.c_void_p) -> str:
    info = _ProgInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    if library.bpf_obj_get_info_by_fd(library.bpf_program__fd(prog), ctypes.byref(info), ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), "bpf_obj_get_info_by_fd")
    return bytes(info.tag).hex()


def _maps(library: ctypes.CDLL, obj: ctypes.c_void_p) -> Iterator[tuple[str, ctypes.c_void_p]]:
    at = None
    while (at := library.bpf_object__next_map(obj, ctypes.c_void_p(at))) is not None:
        yield library.bpf_map__name(ctypes.c_void_p(at)).decode(), ctypes.c_void_p(at)


def _fields(library: ctypes.CDLL, bpf_map: ctypes.c_void_p) -> tuple[int, int, int, int, int]:
    fields = ("type", "key_size", "value_size", "max_entries", "map_flags")
    values = [getattr(library, f"bpf_map__{field}")(bpf_map) & 0xFFFFFFFF for field in fields]
    return values[0], values[1], values[2], values[3], values[4]


def _contents(library: ctypes.CDLL, bpf_map: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    address = library.bpf_map__initial_value(bpf_map, ctypes.byref(size))
    return ctypes.string_at(address, size.value) if address else b""


def _dump(library: ctypes.CDLL, btf_fd: int) -> str:
    info = _BtfInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    if library.bpf_obj_get_info_by_fd(btf_fd, ctypes.byref(info), ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), "bpf_obj_get_info_by_fd")
    return _bpftool("id", str(info.id))


def _bpftool(*source: str) -> str:
    return "\n".join(json.dumps(btf_type) for btf_type in bpftool_json("btf", "dump", *source)["types"])

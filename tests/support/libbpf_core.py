"""What libbpf makes of CO-RE records against any BTF, through ctypes: its debug log and the relocated instructions."""

import ctypes
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INSN_SIZE = 8
LINE_SIZE = 1 << 16
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_RELO_LINE = re.compile(r"libbpf: prog '(?P<prog>.*?)': relo #(?P<number>\d+): (?P<text>.*)")


class _OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.0 and later."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", ctypes.c_size_t),
        ("kernel_log_level", ctypes.c_uint32),
    )


@dataclass(frozen=True)
class Relocated:
    """An object libbpf tried to load: `relocated` tells whether it came past CO-RE, `insns` are those by program.

    `log` has the lines on each record, by program and number, without their prefix; `lines` has all that libbpf said.
    """

    relocated: bool
    insns: Mapping[str, bytes]
    log: Mapping[tuple[str, int], Sequence[str]]
    lines: Sequence[str] = ()


def relocate(path: Path, btf: Path | None, *, only: str = "", bare: bool = False) -> Relocated:
    """Load `path` against the types of `btf` (raw or ELF; None: the kernel's), or only its program `only`.

    Programs need not pass the verifier: libbpf relocates all of them before it loads the first one. With `bare` no map
    is created and nothing comes to the verifier: references to maps are poisoned, and programs have no type.
    """
    library, libc = ctypes.CDLL("libbpf.so.1", use_errno=True), ctypes.CDLL(None)
    for name in ("bpf_object__open_file", "bpf_object__next_program", "bpf_program__insns"):
        getattr(library, name).restype = ctypes.c_void_p
    library.bpf_program__name.restype = ctypes.c_char_p
    library.bpf_program__insn_cnt.restype = ctypes.c_size_t
    lines: list[str] = []

    def log(_level: int, form: bytes, arguments: int) -> int:
        buffer = ctypes.create_string_buffer(LINE_SIZE)
        libc.vsnprintf(buffer, ctypes.c_size_t(LINE_SIZE), form, ctypes.c_void_p(arguments))
        lines.append(buffer.value.decode(errors="replace").rstrip("\n"))
        return 0

    callback = _PRINT(log)
    library.libbpf_set_print(callback)
    options = _OpenOpts(sz=ctypes.sizeof(_OpenOpts), btf_custom_path=str(btf).encode() if btf else None)
    address = library.bpf_object__open_file(str(path).encode(), ctypes.byref(options))
    assert address, lines
    obj = ctypes.c_void_p(address)
    try:
        programs = _programs(library, obj)
        for name, program in programs.items():
            library.bpf_program__set_autoload(program, only in {"", name})
            if bare:
                library.bpf_program__set_type(program, 0)
        if bare:
            _leave_maps_out(library, obj)
        library.bpf_object__load(obj)
        insns = {name: _insns(library, program) for name, program in programs.items()}
    finally:
        library.bpf_object__close(obj)
        library.libbpf_set_print(_silent)
    failed = any("failed to perform CO-RE relocations" in line for line in lines)
    return Relocated(not failed, insns, _by_record(lines), tuple(lines))


_silent = _PRINT(lambda _level, _form, _arguments: 0)


def _leave_maps_out(library: ctypes.CDLL, obj: ctypes.c_void_p) -> None:
    library.bpf_object__next_map.restype = ctypes.c_void_p
    at = None
    while (at := library.bpf_object__next_map(obj, ctypes.c_void_p(at))) is not None:
        library.bpf_map__set_autocreate(ctypes.c_void_p(at), False)


def _programs(library: ctypes.CDLL, obj: ctypes.c_void_p) -> Mapping[str, ctypes.c_void_p]:
    found: dict[str, ctypes.c_void_p] = {}
    at = None
    while (at := library.bpf_object__next_program(obj, ctypes.c_void_p(at))) is not None:
        found[library.bpf_program__name(ctypes.c_void_p(at)).decode()] = ctypes.c_void_p(at)
    return found


def _insns(library: ctypes.CDLL, program: ctypes.c_void_p) -> bytes:
    count = library.bpf_program__insn_cnt(program)
    return ctypes.string_at(library.bpf_program__insns(program), count * INSN_SIZE)


def _by_record(lines: Sequence[str]) -> Mapping[tuple[str, int], Sequence[str]]:
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for line in lines:
        if match := _RELO_LINE.fullmatch(line):
            found[match["prog"], int(match["number"])].append(match["text"])
    return found

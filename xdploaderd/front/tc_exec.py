"""`tc exec bpf`: a slot of a pinned program array set (graft), maps received for a command (import), the trace (debug).

Mirrors iproute2 tc/e_bpf.c, and bpf_graft_map and bpf_trace_pipe of lib/bpf_legacy.c.
"""

import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from xdploaderd.errors import FileError, PinError, PinMismatchError
from xdploaderd.front.bpfspec import BpfSpec, parse_bpf_spec
from xdploaderd.front.load import Say, load_for_hook, pinned_path
from xdploaderd.front.map_export import map_environment, receive_maps
from xdploaderd.front.tc_words import U32_MAX, parse_number
from xdploaderd.front.words import EXIT_WORDS, STATUS_FIELD, Words, refused
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.load.pins import open_pin
from xdploaderd.obj.tail_calls import tail_call_slot
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import MapType, enum_name

EXIT_INVALID = -errno.EINVAL & 0xFF  # 234
_USAGE = "tc exec bpf { import SOCKET [run CMD ...] | debug | graft MAP [key N] { object FILE ... | pinned PATH } }"
_SHELL = "/bin/sh"
_TRACE_PIPES = tuple(
    Path(place) / "trace_pipe" for place in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing", "/tracing", "/trace")
)
_CHUNK_BYTES = 4096
_STDERR = 2
_U32_BYTES = 4


def run_exec(words: Words, bpf: Bpf, *, say: Say, environ: Mapping[str, str] = os.environ) -> int:
    """Carry out what follows `exec bpf` and return its status; `run` and a shell take this process's place.

    Raises LoaderError.
    """
    socket_path, argv = "", tuple[str, ...]((_SHELL,))
    if not words:
        return 0
    while words:
        if words.accept("run"):
            argv = (words.take(), *words.rest())
        elif words.accept("import"):
            socket_path = words.take()
        elif words.accept("debug", "dbg"):
            return _copy_trace()
        elif words.accept("graft"):
            _graft(words, bpf, say, environ)
            return 0
        else:
            raise refused(f"{quoted(words.take())} is no command, want {_USAGE}")
    if not socket_path:
        raise refused(f"no socket to import maps from, want {_USAGE}")
    return _import(socket_path, argv, environ)


def _import(socket_path: str, argv: tuple[str, ...], environ: Mapping[str, str]) -> int:
    received = receive_maps(socket_path)
    told = {**environ, **map_environment(received)}
    for item in received:
        os.set_inheritable(item.fd.fileno(), True)
    try:
        os.execvpe(argv[0], argv, told)  # noqa: S606 - the user names the command
    except OSError as error:
        for item in received:
            item.fd.close()
        raise FileError(f"cannot run {quoted(argv[0])}: {(error.strerror or str(error)).lower()}") from None


def _copy_trace() -> int:
    """Copy the kernel's trace to standard error until it ends, which is a failure, as it is for tc."""
    for path in _TRACE_PIPES:
        try:
            pipe = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            while chunk := os.read(pipe, _CHUNK_BYTES):
                os.write(_STDERR, chunk)
        except OSError as error:
            raise FileError(f"cannot read {quoted(str(path))}: {(error.strerror or str(error)).lower()}") from None
        finally:
            os.close(pipe)
        return EXIT_WORDS
    raise FileError("no trace pipe: tracefs is not mounted, or not for this user")


def _graft(words: Words, bpf: Bpf, say: Say, environ: Mapping[str, str]) -> None:
    operand = words.take()
    key = None
    if words.accept("key"):
        word = words.take()
        key = parse_number(word, U32_MAX)
        if key is None:
            raise refused(f"{quoted(word)} is no key, want a number")
    spec = parse_bpf_spec(words, None)
    with load_for_hook(spec, bpf, say=say, environ=environ) as program:
        number = _key_of(spec) if key is None else key
        path = pinned_path(operand, spec.kind, environ)
        array = open_pin(bpf, path, ObjectKind.MAP)
        if array is None:
            raise PinError(f"nothing is pinned at {quoted(str(path))}")
        with array:
            _check(bpf.map_info(array), path)
            bpf.map_update(array, struct.pack("=I", number), struct.pack("=I", program.fd.fileno()))


def _key_of(spec: BpfSpec) -> int:
    found = tail_call_slot(spec.section)
    if found is None:
        text = f"section {quoted(spec.section)} does not say which slot, want 'key N' or a section named ID/KEY"
        raise refused(text, status=EXIT_INVALID)
    return found[1]


def _check(info: MapInfo, path: PurePosixPath) -> None:
    wanted = {"type": (info.type, int(MapType.PROG_ARRAY)), "key size": (info.key_size, _U32_BYTES)}
    wanted["value size"] = (info.value_size, _U32_BYTES)
    differences = [f"{what}: wanted {want}, found {found}" for what, (found, want) in wanted.items() if found != want]
    if differences:
        kind = enum_name(MapType, info.type)
        error = PinMismatchError(
            f"{quoted(str(path))} is a map of type {kind}, want a program array with keys of 4 bytes",
            path=str(path),
            differences=differences,
        )
        error.fields[STATUS_FIELD] = EXIT_INVALID
        raise error

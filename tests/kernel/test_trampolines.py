"""Programs at functions and structures of functions at work: of programs, of the kernel, of TCP."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from tests.support import sandbox
from tests.support.loading import DEFAULT_PINS, OBJECTS, load_file
from tests.support.netns import ip
from tests.support.old_kernel import MAY_LACK_FEATURES
from tests.support.rawbpf import RawFd, bpf_result
from tests.support.tools import skip_if_bpftool_cannot_load
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.attach_targets import open_attach_targets
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.uapi.bpf import AttachType, BpfCmd, ProgType

pytestmark = pytest.mark.kernel
FRAME = bytes(100)
PASS = 2
PIN = PurePosixPath("/sys/fs/bpf/target")
KNOWN = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@pytest.fixture
def _trampolines(_no_kernel_leak: None) -> Iterator[None]:
    """A machine may let nobody load programs for functions: then its other loader is refused as well. No guest does."""
    if not MAY_LACK_FEATURES:
        skip_if_bpftool_cannot_load(OBJECTS / "std_tracing.bpf.o")
    yield
    sandbox.clear_pins()


def attach(program: Fd) -> RawFd:
    """Attach a program to what it was loaded for; BPF_RAW_TRACEPOINT_OPEN does so since the first such programs."""
    number = bpf_result(BpfCmd.RAW_TRACEPOINT_OPEN, struct.pack("=QI", 0, program.fileno()))
    assert number >= 0
    return RawFd(number)


def counters(bpf: Bpf, loaded: LoadedObject, *names: str) -> tuple[int, ...]:
    """Return u64 variables of .bss."""
    bss = next(found for found in loaded.maps.values() if found.spec.section == ".bss")
    raw = bpf.map_lookup(bss.fd, bytes(4), bss.info.value_size)
    assert raw is not None
    offsets = loaded.prepared.spec.datasecs[".bss"].offsets
    return tuple(struct.unpack_from("=Q", raw, offsets[name])[0] for name in names)


@contextmanager
def beside(bpf: Bpf, target: Fd, program: str) -> Iterator[LoadedObject]:
    """Load one program of std_ext for `target`, as --attach-target does."""
    path = OBJECTS / "std_ext.bpf.o"
    obj = select_programs(open_object(path.read_bytes(), name=path.name), names=[program])
    with ExitStack() as stack:
        bpf.obj_pin(target, PIN)
        fds, btfs = open_attach_targets(bpf, {program: PIN}, stack)
        ready = prepare(obj, replace(running_kernel(bpf, target_needs(obj)), program_btfs=btfs))
        yield stack.enter_context(load(ready, bpf, DEFAULT_PINS, targets=fds))


@pytest.mark.usefixtures("_trampolines")
def test_replacement_runs_in_place_of_a_programs_function_until_it_is_detached() -> None:
    bpf = Bpf()
    with load_file("std_calls", bpf, names=("calls_first",)) as calls:
        target = calls.programs["calls_first"]
        with beside(bpf, target, "in_place") as loaded:
            assert loaded.infos["in_place"].type == ProgType.EXT
            assert bpf.prog_run(target, FRAME).retval == PASS
            assert counters(bpf, loaded, "replaced") == (0,)
            with attach(loaded.programs["in_place"]):
                assert bpf.prog_run(target, FRAME).retval == PASS
                assert counters(bpf, loaded, "replaced") == (1,)
            bpf.prog_run(target, FRAME)
            assert counters(bpf, loaded, "replaced") == (1,)


@pytest.mark.usefixtures("_trampolines")
def test_program_beside_a_programs_function_sees_its_argument() -> None:
    bpf = Bpf()
    with load_file("std_calls", bpf, names=("calls_first",)) as calls:
        target = calls.programs["calls_first"]
        with beside(bpf, target, "beside") as loaded, attach(loaded.programs["beside"]):
            assert loaded.infos["beside"].type == ProgType.TRACING
            bpf.prog_run(target, FRAME)
            assert counters(bpf, loaded, "beside_calls", "beside_argument") == (1, len(FRAME))


@pytest.mark.usefixtures("_trampolines")
def test_programs_before_and_after_a_function_of_the_kernel_run_with_it() -> None:
    bpf = Bpf()
    with load_file("std_tracing", bpf) as loaded:
        before, after = loaded.programs["before"], loaded.programs["after"]
        with attach(before), attach(after):
            run = struct.pack("=II", before.fileno(), 0)
            assert bpf_result(BpfCmd.PROG_TEST_RUN, run) == 0
            assert counters(bpf, loaded, "entered", "left", "result") == (1, 1, 2)


def filled(loaded: LoadedObject, name: str) -> bytes:
    """Return a structure of functions as the kernel takes it: each function is its program's descriptor."""
    spec = loaded.prepared.maps[name]
    value = bytearray(spec.contents or b"")
    for at, program in spec.slots.items():
        struct.pack_into("=Q", value, at, loaded.programs[program].fileno())
    return bytes(value)


def congestion_control(name: str) -> str:
    """Send a megabyte through TCP with that congestion control; return what the socket says it has."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        client.connect(server.getsockname())
        taken, _ = server.accept()
        with taken:
            for _ in range(16):
                client.sendall(bytes(1 << 16))
                assert len(taken.recv(1 << 16, socket.MSG_WAITALL)) == 1 << 16
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def test_congestion_control_of_an_object_is_registered_and_carries_tcp() -> None:
    bpf = Bpf()
    ip("link", "set", "lo", "up")
    with load_file("std_struct_ops", bpf, without=("linked_cc",)) as loaded:
        plain = loaded.maps["plain_cc"].fd
        bpf.map_update(plain, bytes(4), filled(loaded, "plain_cc"))
        try:
            assert "plain_cc" in KNOWN.read_text().split()
            assert congestion_control("plain_cc") == "plain_cc"
        finally:
            assert bpf.map_delete(plain, bytes(4))
        assert "plain_cc" not in KNOWN.read_text().split()


def test_value_given_by_name_is_in_what_is_registered() -> None:
    bpf = Bpf()
    with load_file("std_struct_ops", bpf, globals_={"plain_cc.name": "named_cc"}, without=("linked_cc",)) as loaded:
        plain = loaded.maps["plain_cc"].fd
        bpf.map_update(plain, bytes(4), filled(loaded, "plain_cc"))
        try:
            assert {"named_cc", "plain_cc"} & set(KNOWN.read_text().split()) == {"named_cc"}
        finally:
            assert bpf.map_delete(plain, bytes(4))


def test_congestion_control_with_a_link_is_there_as_long_as_the_link() -> None:
    bpf = Bpf()
    ip("link", "set", "lo", "up")
    with load_file("std_struct_ops", bpf, without=("plain_cc",)) as loaded:
        linked = loaded.maps["linked_cc"].fd
        bpf.map_update(linked, bytes(4), filled(loaded, "linked_cc"))
        assert "linked_cc" not in KNOWN.read_text().split()
        attr = struct.pack("=IIII", linked.fileno(), 0, AttachType.STRUCT_OPS, 0)
        with RawFd(bpf_result(BpfCmd.LINK_CREATE, attr)) as link:
            assert link.fileno() >= 0
            assert congestion_control("linked_cc") == "linked_cc"
        assert "linked_cc" not in KNOWN.read_text().split()

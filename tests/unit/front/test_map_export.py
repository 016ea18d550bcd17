"""The message that hands maps to another process: its layout, and what may come in place of one."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from xdploaderd.errors import FileError, LimitError, ObjectError
from xdploaderd.front.map_export import MAX_MAPS, ReceivedMap, map_environment, receive_maps, send_maps
from xdploaderd.info import MapInfo
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.maps import LoadedMap
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapId, MapType

SECONDS = 5.0
RULE = "iproute2"


def spec(name: str, *, rule: str = RULE, **fields: object) -> MapSpec:
    base = MapSpec(name=name, kernel_name=name, type=MapType.ARRAY, key_size=4, value_size=8, max_entries=2, rule=rule)
    return replace(base, **fields)  # type: ignore[arg-type]


def loaded(stack: ExitStack, *specs: MapSpec) -> dict[str, LoadedMap]:
    info = MapInfo(id=MapId(1), type=2, key_size=4, value_size=8, max_entries=2, flags=0, name="")
    return {
        s.name: LoadedMap(
            spec=s, fd=stack.enter_context(Fd(os.open(os.devnull, os.O_RDONLY))), info=info, pin=None, reused=False
        )
        for s in specs
    }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def test_message_is_that_of_iproute2(tmp_path: Path, stack: ExitStack) -> None:
    path, obj = str(tmp_path / "maps"), tmp_path / "f.o"
    obj.write_bytes(b"x")
    inner = spec("inner", legacy_id=42, pinning=2, flags=1)
    outer = spec("outer", type=int(MapType.ARRAY_OF_MAPS), inner=inner, slots={1: "inner"}, legacy_id=7)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(path)
        send_maps(path, loaded(stack, outer, inner), str(obj))
        message, fds, _, _ = socket.recv_fds(listener, 4096, 8)
    for fd in fds:
        stack.callback(os.close, fd)
    assert (len(message), len(fds)) == (88 + 2 * 36, 2)
    assert struct.unpack_from("=HH", message) == (1, 2)
    assert message[4:68].rstrip(b"\0") == os.fsencode(obj)[:63]
    assert struct.unpack_from("=QQ", message, 72) == (obj.stat().st_dev, obj.stat().st_ino)
    assert struct.unpack_from("=9I", message, 88) == (12, 4, 8, 2, 0, 7, 0, 42, 0)
    assert struct.unpack_from("=9I", message, 88 + 36) == (2, 4, 8, 2, 1, 42, 2, 0, 1)


def test_inner_map_in_no_slot_is_a_template(tmp_path: Path, stack: ExitStack) -> None:
    path = str(tmp_path / "maps")
    inner = spec("inner", legacy_id=42)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(path)
        send_maps(path, loaded(stack, inner, spec("outer", type=12, inner=inner)), "gone.o")
        message, fds, _, _ = socket.recv_fds(listener, 4096, 8)
    for fd in fds:
        stack.callback(os.close, fd)
    assert struct.unpack_from("=I", message, 88 + 32) == (0xFFFFFFFF,)


def receive(path: Path, send: object) -> tuple[ReceivedMap, ...]:
    """Receive maps while a thread sends what `send` makes, as soon as somebody listens."""

    def run() -> None:
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if isinstance(send, bytes):
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
                sender.sendto(send, str(path))
        elif isinstance(send, dict):
            send_maps(str(path), send, "f.o")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        return receive_maps(str(path))
    finally:
        thread.join()


def test_maps_without_an_id_are_told_apart_by_their_position(tmp_path: Path, stack: ExitStack) -> None:
    maps = loaded(stack, spec("one", rule="btf"), spec("two", rule="btf"))
    received = receive(tmp_path / "maps", maps)
    for item in received:
        stack.enter_context(item.fd)
    assert [item.id for item in received] == [0, 1]
    assert map_environment(received) == {
        "BPF_NUM_MAPS": "2",
        **{f"BPF_MAP{item.id}": str(item.fd.fileno()) for item in received},
    }
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"short", "a message of 5 bytes came"),
        (struct.pack("=HH84x", 2, 0), "version 2"),
        (struct.pack("=HH84x", 1, 3), "3 maps are announced, 0 descriptors and 0 bytes"),
    ],
)
def test_message_that_is_none_of_maps_is_refused(tmp_path: Path, message: bytes, reason: str) -> None:
    with pytest.raises(ObjectError, match=reason):
        receive(tmp_path / "maps", message)


def test_nobody_listens_or_too_many_maps(tmp_path: Path, stack: ExitStack) -> None:
    maps = loaded(stack, *(spec(f"m{number}") for number in range(MAX_MAPS + 1)))
    with pytest.raises(LimitError, match="65 maps, at most 64"):
        send_maps(str(tmp_path / "maps"), maps, "f.o")
    with pytest.raises(FileError, match=r"cannot export the maps to .*no such file"):
        send_maps(str(tmp_path / "maps"), loaded(stack, spec("one")), "f.o")
    send_maps(str(tmp_path / "maps"), {}, "f.o")  # no maps: nothing is sent

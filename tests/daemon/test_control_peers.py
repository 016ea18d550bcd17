"""Peers of the control socket: who may call, and what comes of whoever breaks the protocol, floods or falls silent."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.daemon.served import Call, serve, until
from tests.fakes.loader import FakeLoader
from xdploaderd.control import server
from xdploaderd.control.varlink import encode_frame
from xdploaderd.errors import NotAuthorizedError


def test_peer_that_is_not_root_may_only_read_what_the_interface_is(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        for method, parameters in [("Status", {}), ("List", {}), ("Attach", {"name": "edge"}), ("Reload", {})]:
            with pytest.raises(NotAuthorizedError, match="only root"):
                await call(method, **parameters)
        assert service.calls == []
        assert "xdploaderd" in (await call("org.varlink.service.GetInfo"))["product"]

    serve(path, test, uids=frozenset({os.geteuid() + 1}))


async def _raw(path: Path, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the daemon closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                return await reader.read()
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"not json\0",
        b"[1]\0",
        b"\xff\xfe\0",
        b"[" * 60000 + b"\0",
        b"x" * 70000,
        b" " * 5_000_000,
        encode_frame({"method": "org.xdploaderd.Loader.Status"}) * 1000,
        b"\0" * 1000,
    ],
    ids=["text", "array", "no-utf8", "nested", "long", "flood", "pipelined", "empty-frames"],
)
def test_peer_that_breaks_the_protocol_is_cut_off_and_others_are_served(path: Path, data: bytes) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        assert b"internal" not in await _raw(path, data)
        assert len(service.calls) <= server.MAX_PENDING_CALLS
        assert (await call("Status"))["status"]["pid"] == 42

    serve(path, test)


def test_calls_of_a_peer_that_sent_too_many_are_not_begun(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        status = encode_frame({"method": "org.xdploaderd.Loader.Status"})
        assert await _raw(path, status * (server.MAX_PENDING_CALLS + 1)) == b""
        assert (await call("Status"))["status"]["pid"] == 42
        assert service.calls == ["status"]

    serve(path, test)


def test_descriptors_of_a_call_that_takes_none_are_closed_at_once(path: Path) -> None:
    async def test(service: FakeLoader, _call: Call) -> None:
        service.gate = asyncio.Event()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(os.fspath(path))
            socket.send_fds(peer, [encode_frame({"method": "org.xdploaderd.Loader.Status"})], [writing] * 200)
            os.close(writing)
            await until(lambda: bool(service.calls))
            try:
                assert os.read(reading, 1) == b""  # nobody else holds the other end while the call runs
            finally:
                os.close(reading)
            service.gate.set()
            peer.setblocking(False)
            async with asyncio.timeout(5):
                assert b'"pid":42' in await asyncio.get_running_loop().sock_recv(peer, 65536)

    serve(path, test)


def test_silent_peer_is_closed_but_not_while_its_call_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.05)

    async def test(service: FakeLoader, call: Call) -> None:
        assert await _raw(path, b"") == b""
        assert await _raw(path, b'{"method":') == b""
        service.gate = asyncio.Event()
        running = asyncio.ensure_future(call("Status"))
        await asyncio.sleep(0.15)
        service.gate.set()
        assert (await running)["status"]["pid"] == 42

    serve(path, test)


async def _call_without_reading(path: Path, service: FakeLoader, count: int) -> None:
    _, writer = await asyncio.open_unix_connection(path, limit=1024)  # it reads no further than that
    try:
        for _ in range(count):
            wanted = len(service.calls) + 1
            writer.write(encode_frame({"method": "org.xdploaderd.Loader.Status"}))
            await writer.drain()
            while len(service.calls) < wanted and not writer.is_closing():  # noqa: ASYNC110 - the fake has no event
                await asyncio.sleep(0)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_peer_that_never_reads_its_answers_is_cut_off(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        with pytest.raises(ConnectionError):
            await _call_without_reading(path, service, 5000)
        assert len(service.calls) < 2000
        assert (await call("Status"))["status"]["pid"] == 42

    serve(path, test)


def test_client_that_goes_away_does_not_cancel_its_call(path: Path) -> None:
    async def test(service: FakeLoader, _call: Call) -> None:
        service.gate = asyncio.Event()
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(encode_frame({"method": "org.xdploaderd.Loader.Detach", "parameters": {"name": "edge"}}))
        await until(lambda: bool(service.calls))
        writer.close()
        await writer.wait_closed()
        service.gate.set()
        await until(lambda: service.attachments["edge"].state == "detached")

    serve(path, test)


def test_too_many_clients_are_closed_and_strangers_never_keep_root_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_STRANGERS", 2)

    async def test(_service: FakeLoader, _call: Call) -> None:
        writers = [(await asyncio.open_unix_connection(path))[1] for _ in range(2)]
        assert await _raw(path, encode_frame({"method": "org.varlink.service.GetInfo"})) == b""
        for writer in writers:
            writer.close()
            await writer.wait_closed()

    serve(path, test, uids=frozenset())


def test_fifty_clients_at_once_are_all_answered(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        answers = await asyncio.gather(*(call("Status") for _ in range(50)))
        assert [answer["status"]["pid"] for answer in answers] == [42] * 50
        assert service.calls == ["status"] * 50

    serve(path, test)

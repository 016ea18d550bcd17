"""The control socket end to end: client, wire, server, a service in memory."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.loader import CORE_LOG, EDGE, FakeLoader
from xdploaderd.control import server
from xdploaderd.control.client import ControlClient
from xdploaderd.control.listener import listening
from xdploaderd.control.server import ControlServer, LoaderInterface
from xdploaderd.control.varlink import ERROR_FIELDS, encode_frame, error_classes, error_parameters, parse_reply
from xdploaderd.errors import (
    AttachError,
    FileError,
    HookBusyError,
    KernelError,
    LoaderError,
    LockedError,
    NoSuchAttachmentError,
    NotAuthorizedError,
    PinMismatchError,
    UnreachableError,
    UsageError,
    VerifierError,
    error_context,
)

ROOT = Path(__file__).parents[2]
OWN_TEXT = Path(__file__).read_bytes()[: 1 << 16]
Call = Callable[..., Awaitable[Mapping[str, Any]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "control"


def _serve(
    path: Path, test: Callable[[FakeLoader, Call], Awaitable[None]], *, uids: frozenset[int] | None = None
) -> None:
    """Run `test` against a served fake; calls are made in a thread, as by another process."""

    async def main() -> None:
        service = FakeLoader()
        client = ControlClient(path, timeout=5)
        with listening(path) as listener:
            allowed = frozenset({os.geteuid()}) if uids is None else uids
            task = asyncio.create_task(ControlServer(service, listener, authorized_uids=allowed).run())

            async def call(method: str, **parameters: Any) -> Mapping[str, Any]:
                return await asyncio.to_thread(client.call, method, parameters)

            try:
                await test(service, call)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(main())


def test_every_method_answers_with_the_service_s_values(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        edge = json.loads(json.dumps(EDGE.to_json()))
        assert await call("List") == {"attachments": [edge]}
        assert (await call("Status"))["status"] == json.loads(json.dumps((await service.status()).to_json()))
        assert (await call("Detach", name="edge"))["attachment"] == {**edge, "state": "detached"}
        assert (await call("Attach", name="edge"))["attachment"] == edge
        assert (await call("Reload"))["status"]["pid"] == 42
        (action,) = (await call("Plan"))["actions"]
        assert (action["action"], action["hook"], action["reason"]) == ("replace", "xdp", "object changed")
        assert await call("CoreLog", name="edge") == {"core_log": CORE_LOG}
        calls = ["list", "status", "status", "detach edge", "attach edge", "reload", "plan", "core-log edge"]
        assert service.calls == calls

    _serve(path, test)


def test_error_arrives_as_its_class_with_message_place_and_fields(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        service.error = HookBusyError("hook is held", prog_id=7, prog_name="other", errno=17, extack="kernel says")
        with contextlib.suppress(LoaderError), error_context("attachment 'edge'"):
            raise service.error
        with pytest.raises(HookBusyError) as caught:
            await call("Attach", name="edge")
        assert str(caught.value) == "attachment 'edge': hook is held"
        expected = {"prog_id": 7, "prog_name": "other", "errno": "EEXIST", "extack": "kernel says"}
        assert caught.value.fields == expected
        with pytest.raises(NoSuchAttachmentError, match="no attachment named 'nix'"):
            await call("Attach", name="nix")

    _serve(path, test)


@pytest.mark.parametrize("cls", sorted(set(error_classes()), key=str))
def test_each_error_class_comes_back_from_the_wire(path: Path, cls: type[LoaderError]) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        error = cls.__new__(cls)
        LoaderError.__init__(error, "some text")
        service.error = error
        with pytest.raises(cls) as caught:
            await call("Status")
        assert type(caught.value) is cls
        assert (caught.value.code, str(caught.value)) == (cls.code, "some text")

    _serve(path, test)


@pytest.mark.parametrize(
    "error",
    [
        KernelError("refused", operation="BPF_MAP_CREATE", errno=1),
        VerifierError("rejected", errno=13, log=["0: exit"]),
        PinMismatchError("differs", path="/p", differences=["a: 1, 2"]),
        AttachError("no", errno=22, extack="why", fields={"qdisc": "ingress"}),
        HookBusyError("busy", prog_id=1, prog_name="x", errno=16, extack="why"),
    ],
    ids=lambda error: str(error.code),
)
def test_fields_of_errors_are_those_in_the_interface(error: LoaderError) -> None:
    assert set(error_parameters(error)) == {"message", *ERROR_FIELDS[error.code]}


def test_fault_of_the_daemon_is_told_without_its_text_and_the_daemon_lives(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        service.error = ZeroDivisionError("secret")
        with pytest.raises(LoaderError, match="internal error") as caught:
            await call("Status")
        assert "secret" not in str(caught.value)
        assert (await call("Status"))["status"]["pid"] == 42

    _serve(path, test)
    assert "ZeroDivisionError: secret" in caplog.text


def test_peer_that_is_not_root_may_only_read_what_the_interface_is(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        for method, parameters in [("Status", {}), ("List", {}), ("Attach", {"name": "edge"}), ("Reload", {})]:
            with pytest.raises(NotAuthorizedError, match="only root"):
                await call(method, **parameters)
        assert service.calls == []
        assert "xdploaderd" in (await call("org.varlink.service.GetInfo"))["product"]

    _serve(path, test, uids=frozenset({os.geteuid() + 1}))


def test_introspection_serves_the_text_of_the_configuration_directory(path: Path) -> None:
    async def test(_service: FakeLoader, call: Call) -> None:
        info = await call("org.varlink.service.GetInfo")
        assert info["interfaces"] == ["org.varlink.service", "org.xdploaderd.Loader"]
        answer = await call("org.varlink.service.GetInterfaceDescription", interface="org.xdploaderd.Loader")
        assert answer["description"] == (ROOT / "config/org.xdploaderd.Loader.varlink").read_text()

    _serve(path, test)


@pytest.mark.parametrize(
    ("method", "parameters", "text"),
    [
        ("Dance", {}, "MethodNotFound method 'Dance'"),
        ("org.example.Other.Do", {}, "InterfaceNotFound interface 'org.example.Other'"),
        ("Attach", {}, "InvalidParameter"),
        ("Attach", {"name": 5}, "InvalidParameter"),
        ("Attach", {"name": "edge", "more": 1}, "InvalidParameter"),
        ("__init__", {}, "ProtocolViolation"),
        ("render_interface_description", {}, "ProtocolViolation"),
    ],
)
def test_call_that_is_not_in_the_interface_is_a_usage_error(
    path: Path, method: str, parameters: dict[str, Any], text: str
) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        with pytest.raises(UsageError, match=text):
            await call(method, **parameters)
        assert service.calls == []

    _serve(path, test)


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("the condition never came true")


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

    _serve(path, test)


def test_descriptors_of_a_call_that_takes_none_are_closed_at_once(path: Path) -> None:
    async def test(service: FakeLoader, _call: Call) -> None:
        service.gate = asyncio.Event()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(os.fspath(path))
            socket.send_fds(peer, [encode_frame({"method": "org.xdploaderd.Loader.Status"})], [writing] * 200)
            os.close(writing)
            await _until(lambda: bool(service.calls))
            try:
                assert os.read(reading, 1) == b""  # nobody else holds the other end while the call runs
            finally:
                os.close(reading)
            service.gate.set()
            peer.setblocking(False)
            async with asyncio.timeout(5):
                assert b'"pid":42' in await asyncio.get_running_loop().sock_recv(peer, 65536)

    _serve(path, test)


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

    _serve(path, test)


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

    _serve(path, test)


def test_client_that_goes_away_does_not_cancel_its_call(path: Path) -> None:
    async def test(service: FakeLoader, _call: Call) -> None:
        service.gate = asyncio.Event()
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(encode_frame({"method": "org.xdploaderd.Loader.Detach", "parameters": {"name": "edge"}}))
        await _until(lambda: bool(service.calls))
        writer.close()
        await writer.wait_closed()
        service.gate.set()
        await _until(lambda: service.attachments["edge"].state == "detached")

    _serve(path, test)


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

    _serve(path, test, uids=frozenset())


def test_fifty_clients_at_once_are_all_answered(path: Path) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        answers = await asyncio.gather(*(call("Status") for _ in range(50)))
        assert [answer["status"]["pid"] for answer in answers] == [42] * 50
        assert service.calls == ["status"] * 50

    _serve(path, test)


def test_socket_is_for_root_alone_and_goes_with_the_daemon(path: Path) -> None:
    with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_missing_directory_is_made_for_root_alone(path: Path) -> None:
    with listening(path.parent / "a" / "control"):
        assert stat.S_IMODE((path.parent / "a").stat().st_mode) == 0o700


def test_dead_daemons_socket_is_replaced_a_live_ones_kept(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(os.fspath(path))
    with listening(path):
        with pytest.raises(LockedError, match="another daemon answers"), listening(path):
            pass
        assert path.exists()


def test_socket_of_a_successor_is_not_removed(path: Path) -> None:
    with listening(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as successor:
            successor.bind(os.fspath(path))
    assert path.exists()


def test_file_that_is_no_socket_is_refused_and_kept(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FileError, match="is no socket"), listening(path):
        pass
    assert path.read_text() == "mine"


def test_directory_that_others_can_write_to_is_refused(path: Path) -> None:
    path.parent.chmod(0o1777)
    with pytest.raises(FileError, match="others can write"), listening(path):
        pass


def test_path_too_long_for_a_socket_is_refused(path: Path) -> None:
    with pytest.raises(FileError, match="too long"), listening(path.parent / ("x" * 200)):
        pass


def test_nobody_there_is_told_with_a_hint(path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"does not exist; is xdploaderd running\?"):
        ControlClient(path).call("Status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(os.fspath(path))
        with pytest.raises(UnreachableError, match="nobody listens"):
            ControlClient(path).call("Status")


def test_daemon_that_does_not_answer_in_time_is_unreachable(path: Path) -> None:
    with listening(path), pytest.raises(UnreachableError, match=r"within 0\.05 s"):
        ControlClient(path, timeout=0.05).call("Status")


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400\0", b"[]\0", b'{"parameters":[1]}\0', b"\xff\0", b""])
def test_other_server_on_the_path_is_unreachable(path: Path, answer: bytes) -> None:
    async def main() -> None:
        async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(handle, path):
            with pytest.raises(UnreachableError):
                await asyncio.to_thread(ControlClient(path).call, "Status")

    asyncio.run(main())


def test_interface_declares_every_error_code() -> None:
    declared = {error.name.rpartition(".")[2] for error in LoaderInterface.errors}
    assert declared == {cls.code for cls in error_classes()}


def test_object_s_descriptor_reaches_the_service_and_is_closed_after_the_call(path: Path) -> None:
    async def test(service: FakeLoader, _call: Call) -> None:
        reading = os.open(__file__, os.O_RDONLY)
        try:
            client = ControlClient(path, timeout=5)
            parameters = {"entry": {"hook": "xdp", "globals": {"x": "y" * 20_000}}, "force": True, "descriptor": 0}
            before = len(os.listdir("/proc/self/fd"))
            answer = await asyncio.to_thread(client.call, "AttachObject", parameters, descriptors=(reading,))
            await _until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        finally:
            os.close(reading)
        assert answer["attachment"]["name"] == "edge"
        assert service.objects == [OWN_TEXT]
        (request,) = service.requests
        assert (request.entry, request.permanent, request.force) == (parameters["entry"], False, True)
        (who,) = service.callers
        assert (who.transport, who.uid, who.pid) == ("varlink", os.geteuid(), os.getpid())

    _serve(path, test)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"entry": "x"}, {"entry": {}, "descriptor": 0}, {"entry": {}, "descriptor": 7}, {"entry": {}, "force": "x"}],
)
def test_request_for_an_object_that_makes_no_sense_is_refused(path: Path, parameters: dict[str, Any]) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        with pytest.raises(UsageError):
            await call("AttachObject", **parameters)
        assert service.calls == []

    _serve(path, test)


def test_message_of_an_error_reply_is_one_short_line() -> None:
    for name in ("org.xdploaderd.Loader.Failed", "org.varlink.service.\x1b"):
        frame = json.dumps({"error": name, "parameters": {"message": "\x1b[2J\n\ud800" + "x" * 20_000}})
        with pytest.raises(LoaderError) as caught:
            parse_reply(frame.encode())
        assert str(caught.value).isprintable()
        assert "\\x1b[2J\\x0a\\ud800xxx" in str(caught.value)
        assert len(str(caught.value)) < 17_000


def test_monitor_tells_how_all_stands_then_each_change_and_ends_with_the_connection(path: Path) -> None:
    def follow() -> list[list[tuple[str, str]]]:
        replies = ControlClient(path).stream("Monitor", deadline=time.monotonic() + 5)
        seen = []
        for reply in replies:
            seen.append([(a["name"], a["state"]) for a in reply["attachments"]])
            if len(seen) == 1:
                ControlClient(path).call("Detach", {"name": "edge"})
            else:
                break
        replies.close()
        return seen

    async def test(service: FakeLoader, _call: Call) -> None:
        assert await asyncio.to_thread(follow) == [[("edge", "attached")], [("edge", "detached")]]
        for _ in range(100):
            if not service.listeners:
                break
            await asyncio.sleep(0.01)
        assert service.listeners == 0

    _serve(path, test)


def test_stream_ends_at_its_deadline(path: Path) -> None:
    def follow() -> int:
        replies = ControlClient(path).stream("Monitor", deadline=time.monotonic() + 0.05)
        with pytest.raises(TimeoutError):
            for _ in replies:
                pass
        return 0

    async def test(_service: FakeLoader, _call: Call) -> None:
        await asyncio.to_thread(follow)

    _serve(path, test)

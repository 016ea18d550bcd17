"""The control socket end to end: client, wire, server, a service in memory."""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.served import Call, serve, until
from tests.fakes.loader import CORE_LOG, EDGE, FakeLoader
from xdploaderd.control.client import ControlClient
from xdploaderd.control.interface import LoaderInterface
from xdploaderd.control.varlink import ERROR_FIELDS, error_classes, error_parameters, parse_reply
from xdploaderd.errors import (
    AttachError,
    HookBusyError,
    KernelError,
    LoaderError,
    NoSuchAttachmentError,
    PinMismatchError,
    UsageError,
    VerifierError,
    error_context,
)

ROOT = Path(__file__).parents[2]
OWN_TEXT = Path(__file__).read_bytes()[: 1 << 16]


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

    serve(path, test)


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

    serve(path, test)


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

    serve(path, test)


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

    serve(path, test)
    assert "ZeroDivisionError: secret" in caplog.text


def test_introspection_serves_the_text_of_the_configuration_directory(path: Path) -> None:
    async def test(_service: FakeLoader, call: Call) -> None:
        info = await call("org.varlink.service.GetInfo")
        assert info["interfaces"] == ["org.varlink.service", "org.xdploaderd.Loader"]
        answer = await call("org.varlink.service.GetInterfaceDescription", interface="org.xdploaderd.Loader")
        assert answer["description"] == (ROOT / "config/org.xdploaderd.Loader.varlink").read_text()

    serve(path, test)


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

    serve(path, test)


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
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        finally:
            os.close(reading)
        assert answer["attachment"]["name"] == "edge"
        assert service.objects == [OWN_TEXT]
        (request,) = service.requests
        assert (request.entry, request.permanent, request.force) == (parameters["entry"], False, True)
        (who,) = service.callers
        assert (who.transport, who.uid, who.pid) == ("varlink", os.geteuid(), os.getpid())

    serve(path, test)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"entry": "x"}, {"entry": {}, "descriptor": 0}, {"entry": {}, "descriptor": 7}, {"entry": {}, "force": "x"}],
)
def test_request_for_an_object_that_makes_no_sense_is_refused(path: Path, parameters: dict[str, Any]) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        with pytest.raises(UsageError):
            await call("AttachObject", **parameters)
        assert service.calls == []

    serve(path, test)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("Attach", {"name": "edge"}), ("Detach", {"name": "edge"}), ("Reload", {}), ("AttachObject", {"entry": {}})],
)
def test_truth_is_no_time_to_confirm_in(path: Path, method: str, parameters: dict[str, Any]) -> None:
    async def test(service: FakeLoader, call: Call) -> None:
        with pytest.raises(UsageError, match="want seconds"):
            await call(method, **parameters, confirm=True)
        assert service.calls == []

    serve(path, test)


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

    serve(path, test)


def test_stream_ends_at_its_deadline(path: Path) -> None:
    def follow() -> int:
        replies = ControlClient(path).stream("Monitor", deadline=time.monotonic() + 0.05)
        with pytest.raises(TimeoutError):
            for _ in replies:
                pass
        return 0

    async def test(_service: FakeLoader, _call: Call) -> None:
        await asyncio.to_thread(follow)

    serve(path, test)

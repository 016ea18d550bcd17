"""The D-Bus object on a private bus, called with busctl."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag, Variant
from dbus_fast.aio import MessageBus

from tests.daemon.served import until
from tests.fakes.loader import CORE_LOG, EDGE, PLANNED, FakeLoader
from tests.support.bus import plain, private_bus
from tests.support.tools import tool
from xdploaderd.control import dbus
from xdploaderd.control.dbus import BUS_NAME, DbusServer
from xdploaderd.control.dbus_object import INTERFACE, OBJECT_PATH
from xdploaderd.control.dbus_values import to_properties
from xdploaderd.errors import HookBusyError

NOBODY = 65534
MANUAL = Path(__file__).parents[2] / "docs" / "org.xdploaderd1.5.md"
OWN_TEXT = Path(__file__).read_bytes()[: 1 << 16]
OWN_UID = frozenset({os.geteuid()})
OPEN_MAP = ["call", BUS_NAME, OBJECT_PATH, INTERFACE, "OpenMap", "ssb", "edge", "frames", "false"]


@pytest.fixture(autouse=True)
def bus_tools() -> None:
    for name in ("dbus-daemon", "busctl"):
        tool(name)


def address_of(directory: Path) -> str:
    return f"unix:path={directory}/bus"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with private_bus(tmp_path) as found:
        yield found


async def _busctl(address: str, *args: str, uid: int | None = None) -> tuple[int, str, str]:
    prefix = [] if uid is None else ["setpriv", f"--reuid={uid}", "--clear-groups"]
    process = await asyncio.create_subprocess_exec(
        *prefix,
        "busctl",
        f"--address={address}",
        "--json=short",
        *args,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 10)
    return process.returncode or 0, out.decode(), err.decode()


async def _call(address: str, method: str, *args: str, uid: int | None = None) -> Any:
    signature = ["s"] if args else []
    status, out, err = await _busctl(
        address, "call", BUS_NAME, OBJECT_PATH, INTERFACE, method, *signature, *args, uid=uid
    )
    assert status == 0, err
    return plain(json.loads(out)["data"][0])


async def _on_bus(address: str) -> None:
    for _ in range(500):
        _, out, _ = await _busctl(address, "list", "--acquired")
        if BUS_NAME in out:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the daemon never came onto the bus")


def _serve(
    address: str, test: Callable[[FakeLoader], Awaitable[None]], *, uids: frozenset[int] = OWN_UID, wait: bool = True
) -> None:
    async def main() -> None:
        service = FakeLoader()
        task = asyncio.create_task(DbusServer(service, address=address, authorized_uids=uids).run())
        try:
            if wait:
                await _on_bus(address)
            await test(service)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_busctl_calls_every_method(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        edge = EDGE.to_json()
        assert await _call(address, "ListAttachments") == [edge]
        assert await _call(address, "Detach", "edge") == {**edge, "state": "detached"}
        assert await _call(address, "Attach", "edge") == edge
        status = (await service.status()).to_json()
        assert await _call(address, "Reload") == status
        assert await _call(address, "Status") == status
        assert json.loads(await _call(address, "CoreLog", "edge")) == CORE_LOG
        assert service.calls == ["list", "detach edge", "attach edge", "status", "reload", "status", "core-log edge"]
        assert await _call(address, "Maps", "edge") == [one.to_json() for one in await service.maps("edge")]
        assert await _call(address, "Plan") == [PLANNED.to_json()]

    _serve(address, test)


def test_introspection_tells_methods_and_signal(address: str) -> None:
    async def test(_service: FakeLoader) -> None:
        _, out, _ = await _busctl(address, "introspect", BUS_NAME, OBJECT_PATH, INTERFACE)
        lines = {line.split()[0]: line.split()[1:4] for line in out.splitlines() if line.startswith(".")}
        assert lines == {
            ".Attach": ["method", "s", "a{sv}"],
            ".AttachOnTrial": ["method", "su", "a{sv}"],
            ".DetachOnTrial": ["method", "su", "a{sv}"],
            ".AttachObject": ["method", "a{sv}a{sv}", "a{sv}"],
            ".Forget": ["method", "s", "a{sv}"],
            ".CoreLog": ["method", "s", "s"],
            ".Detach": ["method", "s", "a{sv}"],
            ".ListAttachments": ["method", "-", "aa{sv}"],
            ".Reload": ["method", "-", "a{sv}"],
            ".Apply": ["method", "a{sv}", "a{sv}"],
            ".Confirm": ["method", "-", "a{sv}"],
            ".RollBack": ["method", "-", "a{sv}"],
            ".Status": ["method", "-", "a{sv}"],
            ".Sweep": ["method", "s", "a{sv}"],
            ".Plan": ["method", "-", "aa{sv}"],
            ".Maps": ["method", "s", "aa{sv}"],
            ".OpenMap": ["method", "ssb", "h"],
            ".AttachmentChanged": ["signal", "a{sv}", "-"],
        }
        manual = re.findall(r"^- `(\w+)\((.*?)\)(?: -> (\S+))?`:", MANUAL.read_text(), re.MULTILINE)
        told = {name: "".join(one.split()[0] for one in given.split(", ") if one) for name, given, _ in manual}
        assert told == {name[1:]: line[1].strip("-") for name, line in lines.items()}
        assert {name: answer or "-" for name, _, answer in manual} == {
            name[1:]: line[2] for name, line in lines.items()
        }

    _serve(address, test)


def test_every_change_is_signalled(address: str) -> None:
    async def test(_service: FakeLoader) -> None:
        monitor = await asyncio.create_subprocess_exec(
            "busctl", f"--address={address}", "--json=short", "monitor", BUS_NAME, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert monitor.stdout is not None
        assert monitor.stderr is not None
        try:
            await asyncio.wait_for(monitor.stderr.readline(), 5)  # it tells that it listens
            await _call(address, "Detach", "edge")
            await _call(address, "Attach", "edge")
            seen: list[dict[str, Any]] = []
            while len(seen) < 2:
                message = json.loads(await asyncio.wait_for(monitor.stdout.readline(), 5))
                if message["type"] == "signal" and message.get("member") == "AttachmentChanged":
                    seen.append(plain(message["payload"]["data"][0]))
            assert [change["state"] for change in seen] == ["detached", "attached"]
            assert seen[1] == EDGE.to_json()
        finally:
            monitor.kill()
            await monitor.communicate()

    _serve(address, test)


def _open_map(flags: MessageFlag) -> Message:
    return Message(
        destination=BUS_NAME,
        path=OBJECT_PATH,
        interface=INTERFACE,
        member="OpenMap",
        flags=flags,
        signature="ssb",
        body=["edge", "frames", True],
    )


@pytest.mark.parametrize("flags", [MessageFlag.NONE, MessageFlag.NO_REPLY_EXPECTED])
def test_map_s_descriptor_goes_to_the_caller_and_stays_open_nowhere_else(address: str, flags: MessageFlag) -> None:
    async def test(service: FakeLoader) -> None:
        bus = await MessageBus(bus_address=address, negotiate_unix_fd=True).connect()
        before = len(os.listdir("/proc/self/fd"))
        try:
            if flags is MessageFlag.NONE:
                reply = await bus.call(_open_map(flags))
                assert reply is not None
                (given,) = reply.unix_fds
                assert (reply.signature, reply.body) == ("h", [0])
                assert os.readlink(f"/proc/self/fd/{given}") == "/dev/null"
                os.close(given)
            else:
                await bus.send(_open_map(flags))
                await until(lambda: bool(service.calls))
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        finally:
            bus.disconnect()
        assert service.calls == ["open-map edge frames to write"]

    _serve(address, test)


def test_error_has_the_code_as_its_name_and_the_message_as_its_text(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        bus = await MessageBus(bus_address=address).connect()
        try:

            async def ask(method: str, *args: str) -> tuple[str | None, str]:
                reply = await bus.call(
                    Message(
                        destination=BUS_NAME,
                        path=OBJECT_PATH,
                        interface=INTERFACE,
                        member=method,
                        signature="s" * len(args),
                        body=list(args),
                    )
                )
                assert reply is not None
                return reply.error_name, reply.body[0]

            service.error = HookBusyError("hook is held", prog_id=7, prog_name="other")
            assert await ask("Status") == ("org.xdploaderd1.Error.HookBusy", "hook is held")
            name, text = await ask("Attach", "nix")
            assert (name, text) == ("org.xdploaderd1.Error.NoSuchAttachment", "no attachment named 'nix'")
            service.error = ZeroDivisionError("secret")
            name, text = await ask("Reload")
            assert name == "org.xdploaderd1.Error.Failed"
            assert "secret" not in text
        finally:
            bus.disconnect()

    _serve(address, test)


def test_caller_of_another_uid_is_refused_by_the_daemon_itself(tmp_path: Path) -> None:
    async def test(service: FakeLoader) -> None:
        calls = [("Status",), ("ListAttachments",), ("Detach", "edge"), ("Reload",), ("Plan",), ("Maps", "edge")]
        for method, *args in calls:
            with pytest.raises(AssertionError, match="may not call the daemon"):
                await _call(address_of(tmp_path), method, *args)
        assert service.calls == []

        status, out, err = await _busctl(address_of(tmp_path), *OPEN_MAP)
        assert (status != 0, out) == (True, "")
        assert "may not call the daemon" in err

    with private_bus(tmp_path, policy=False) as place:
        _serve(place, test, uids=frozenset({os.geteuid() + 1}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_policy_lets_nobody_but_root_call_or_take_the_name(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        with pytest.raises(AssertionError, match=r"(Access|Permission) denied"):
            await _call(address, "Status", uid=NOBODY)
        assert service.calls == []
        request = ["call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName"]
        status, _, err = await _busctl(address, *request, "su", BUS_NAME, "0", uid=NOBODY)
        assert status != 0
        assert "denied" in err or "not allowed" in err

    _serve(address, test)


def test_without_a_bus_one_line_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbus, "RETRY_SECONDS", 0.01)

    async def test(_service: FakeLoader) -> None:
        await asyncio.sleep(0.1)

    _serve(f"unix:path={tmp_path}/none", test, wait=False)
    (record,) = [record for record in caplog.records if record.name == dbus.__name__]
    assert "control socket serves alone" in record.getMessage()


def test_restarted_bus_gets_the_daemon_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "RETRY_SECONDS", 0.01)

    async def test(_service: FakeLoader) -> None:
        with private_bus(tmp_path):
            await _on_bus(address_of(tmp_path))
            assert await _call(address_of(tmp_path), "ListAttachments") == [EDGE.to_json()]
        with private_bus(tmp_path):
            await _on_bus(address_of(tmp_path))
            assert await _call(address_of(tmp_path), "ListAttachments") == [EDGE.to_json()]

    _serve(address_of(tmp_path), test, wait=False)


def test_name_that_another_has_is_told_and_left_to_it(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(_service: FakeLoader) -> None:
        second = asyncio.create_task(DbusServer(FakeLoader(), address=address, authorized_uids=OWN_UID).run())
        try:
            for _ in range(500):
                if "another process has the name" in caplog.text:
                    break
                await asyncio.sleep(0.01)
        finally:
            second.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await second
        assert await _call(address, "ListAttachments") == [EDGE.to_json()]

    _serve(address, test)
    assert "another process has the name org.xdploaderd1" in caplog.text


def test_types_of_properties() -> None:
    fields = {"a": "x\0", "b": True, "c": 2**32 - 1, "d": [], "e": ["\udcff"], "attachments": [{"g": 1}]}
    signatures = {name: variant.signature for name, variant in to_properties(fields).items()}
    assert signatures == {"a": "s", "b": "b", "c": "u", "d": "as", "e": "as", "attachments": "aa{sv}"}
    assert to_properties({"attachments": []})["attachments"].signature == "aa{sv}"
    assert to_properties(fields)["a"].value == "x\\x00"


def test_object_s_descriptor_comes_over_the_bus_and_is_closed(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        bus = await MessageBus(bus_address=address, negotiate_unix_fd=True).connect()
        reading = os.open(__file__, os.O_RDONLY)
        before = len(os.listdir("/proc/self/fd"))
        try:
            for member, signature, body in (
                ("AttachObject", "a{sv}a{sv}", [{"hook": Variant("s", "xdp"), "priority": Variant("u", 3)},
                                                {"force": Variant("b", True), "object": Variant("h", 0)}]),
                ("AttachObject", "a{sv}a{sv}", [{}, {"object": Variant("s", "x")}]),
                ("Status", "", []),
            ):  # fmt: skip
                call = Message(
                    destination=BUS_NAME,
                    path=OBJECT_PATH,
                    interface=INTERFACE,
                    member=member,
                    signature=signature,
                    body=body,
                    unix_fds=[reading],
                )
                await bus.call(call)
        finally:
            os.close(reading)
            bus.disconnect()
        assert service.objects == [OWN_TEXT]
        (request,) = service.requests
        assert (dict(request.entry), request.force) == ({"hook": "xdp", "priority": 3}, True)
        (who,) = service.callers
        assert (who.transport, who.uid, who.pid) == ("d-bus", os.geteuid(), os.getpid())
        for _ in range(100):
            if len(os.listdir("/proc/self/fd")) < before:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("a descriptor that came over the bus stays open")

    _serve(address, test)

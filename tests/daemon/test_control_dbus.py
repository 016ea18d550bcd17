"""The methods and the signal of the D-Bus object, on a private bus, called with busctl."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageFlag, Variant
from dbus_fast.aio import MessageBus

from tests.daemon.served import until
from tests.daemon.served_bus import busctl, call_bus, serve_bus
from tests.fakes.loader import CORE_LOG, EDGE, PLANNED, FakeLoader
from tests.support.bus import plain
from xdploaderd.control.dbus import BUS_NAME
from xdploaderd.control.dbus_object import INTERFACE, OBJECT_PATH
from xdploaderd.control.dbus_values import to_properties
from xdploaderd.errors import HookBusyError

pytestmark = pytest.mark.usefixtures("bus_tools")
MANUAL = Path(__file__).parents[2] / "docs" / "org.xdploaderd1.5.md"
OWN_TEXT = Path(__file__).read_bytes()[: 1 << 16]


def test_busctl_calls_every_method(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        edge = EDGE.to_json()
        assert await call_bus(address, "ListAttachments") == [edge]
        assert await call_bus(address, "Detach", "edge") == {**edge, "state": "detached"}
        assert await call_bus(address, "Attach", "edge") == edge
        status = (await service.status()).to_json()
        assert await call_bus(address, "Reload") == status
        assert await call_bus(address, "Status") == status
        assert json.loads(await call_bus(address, "CoreLog", "edge")) == CORE_LOG
        assert service.calls == ["list", "detach edge", "attach edge", "status", "reload", "status", "core-log edge"]
        assert await call_bus(address, "Maps", "edge") == [one.to_json() for one in await service.maps("edge")]
        assert await call_bus(address, "Plan") == [PLANNED.to_json()]

    serve_bus(address, test)


def test_introspection_tells_methods_and_signal(address: str) -> None:
    async def test(_service: FakeLoader) -> None:
        _, out, _ = await busctl(address, "introspect", BUS_NAME, OBJECT_PATH, INTERFACE)
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

    serve_bus(address, test)


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
            await call_bus(address, "Detach", "edge")
            await call_bus(address, "Attach", "edge")
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

    serve_bus(address, test)


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

    serve_bus(address, test)


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

    serve_bus(address, test)


def test_types_of_properties() -> None:
    fields = {"a": "x\0", "b": True, "c": 2**32 - 1, "d": [], "e": ["\udcff"], "attachments": [{"g": 1}]}
    signatures = {name: variant.signature for name, variant in to_properties(fields).items()}
    assert signatures == {"a": "s", "b": "b", "c": "u", "d": "as", "e": "as", "attachments": "aa{sv}"}
    assert to_properties({"attachments": []})["attachments"].signature == "aa{sv}"
    assert to_properties(fields)["a"].value == "x\\x00"


@pytest.mark.parametrize("interface", [INTERFACE, None], ids=["interface", "left-out"])
def test_object_s_descriptor_comes_over_the_bus_and_is_closed(address: str, interface: str | None) -> None:
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
                    interface=interface,
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

    serve_bus(address, test)

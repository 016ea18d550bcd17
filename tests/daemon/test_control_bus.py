"""Who may call the daemon over D-Bus, and how it comes onto the bus and stays there."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tests.daemon.served_bus import OPEN_MAP, OWN_UID, address_of, busctl, call_bus, on_bus, serve_bus
from tests.fakes.loader import EDGE, FakeLoader
from tests.support.bus import private_bus
from xdploaderd.control import dbus
from xdploaderd.control.dbus import BUS_NAME, DbusServer

pytestmark = pytest.mark.usefixtures("bus_tools")
NOBODY = 65534


def test_caller_of_another_uid_is_refused_by_the_daemon_itself(tmp_path: Path) -> None:
    async def test(service: FakeLoader) -> None:
        calls = [("Status",), ("ListAttachments",), ("Detach", "edge"), ("Reload",), ("Plan",), ("Maps", "edge")]
        for method, *args in calls:
            with pytest.raises(AssertionError, match="may not call the daemon"):
                await call_bus(address_of(tmp_path), method, *args)
        assert service.calls == []

        status, out, err = await busctl(address_of(tmp_path), *OPEN_MAP)
        assert (status != 0, out) == (True, "")
        assert "may not call the daemon" in err

    with private_bus(tmp_path, policy=False) as place:
        serve_bus(place, test, uids=frozenset({os.geteuid() + 1}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_policy_lets_nobody_but_root_call_or_take_the_name(address: str) -> None:
    async def test(service: FakeLoader) -> None:
        with pytest.raises(AssertionError, match=r"(Access|Permission) denied"):
            await call_bus(address, "Status", uid=NOBODY)
        assert service.calls == []
        request = ["call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName"]
        status, _, err = await busctl(address, *request, "su", BUS_NAME, "0", uid=NOBODY)
        assert status != 0
        assert "denied" in err or "not allowed" in err

    serve_bus(address, test)


def test_without_a_bus_one_line_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbus, "RETRY_SECONDS", 0.01)

    async def test(_service: FakeLoader) -> None:
        await asyncio.sleep(0.1)

    serve_bus(f"unix:path={tmp_path}/none", test, wait=False)
    (record,) = [record for record in caplog.records if record.name == dbus.__name__]
    assert "control socket serves alone" in record.getMessage()


def test_restarted_bus_gets_the_daemon_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "RETRY_SECONDS", 0.01)

    async def test(_service: FakeLoader) -> None:
        with private_bus(tmp_path):
            await on_bus(address_of(tmp_path))
            assert await call_bus(address_of(tmp_path), "ListAttachments") == [EDGE.to_json()]
        with private_bus(tmp_path):
            await on_bus(address_of(tmp_path))
            assert await call_bus(address_of(tmp_path), "ListAttachments") == [EDGE.to_json()]

    serve_bus(address_of(tmp_path), test, wait=False)


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
        assert await call_bus(address, "ListAttachments") == [EDGE.to_json()]

    serve_bus(address, test)
    assert "another process has the name org.xdploaderd1" in caplog.text

"""A D-Bus object that serves a service in memory, called with busctl."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.loader import FakeLoader
from tests.support.bus import plain
from xdploaderd.control.dbus import BUS_NAME, DbusServer
from xdploaderd.control.dbus_object import INTERFACE, OBJECT_PATH

OWN_UID = frozenset({os.geteuid()})
OPEN_MAP = ["call", BUS_NAME, OBJECT_PATH, INTERFACE, "OpenMap", "ssb", "edge", "frames", "false"]


def address_of(directory: Path) -> str:
    """Return where a bus in that directory is."""
    return f"unix:path={directory}/bus"


async def busctl(address: str, *args: str, uid: int | None = None) -> tuple[int, str, str]:
    """Return exit status, output and errors of busctl, run as that user."""
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


async def call_bus(address: str, method: str, *args: str, uid: int | None = None) -> Any:
    """Call a method, which must succeed; return its value without types."""
    signature = ["s"] if args else []
    status, out, err = await busctl(
        address, "call", BUS_NAME, OBJECT_PATH, INTERFACE, method, *signature, *args, uid=uid
    )
    assert status == 0, err
    return plain(json.loads(out)["data"][0])


async def on_bus(address: str) -> None:
    """Wait until the daemon's name is on the bus."""
    for _ in range(500):
        _, out, _ = await busctl(address, "list", "--acquired")
        if BUS_NAME in out:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the daemon never came onto the bus")


def serve_bus(
    address: str, test: Callable[[FakeLoader], Awaitable[None]], *, uids: frozenset[int] = OWN_UID, wait: bool = True
) -> None:
    """Run `test` against a fake that is served on the bus."""

    async def main() -> None:
        service = FakeLoader()
        task = asyncio.create_task(DbusServer(service, address=address, authorized_uids=uids).run())
        try:
            if wait:
                await on_bus(address)
            await test(service)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())

"""A control socket that serves a service in memory, for the tests of what it answers and of who may ask."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.loader import FakeLoader
from xdploaderd.control.client import ControlClient
from xdploaderd.control.listener import listening
from xdploaderd.control.server import ControlServer

Call = Callable[..., Awaitable[Mapping[str, Any]]]


def serve(
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


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; the test fails when it never does."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("the condition never came true")

"""A peer of the control socket that sends any bytes, and hears whether the server took them for its own fault."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable
from typing import Any

from tests.fakes.loader import FakeLoader
from xdploaderd.control.server import ControlServer

_ANSWER_SECONDS = 5.0


class _Faults(logging.Handler):
    """Keeps what is logged as an error: nothing that a peer sends is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def take(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what an event loop has to tell of a callback; calls that the server's end cut off are no fault."""
        if not isinstance(context.get("exception"), asyncio.CancelledError):
            self.texts.append(f"{context.get('message')}: {context.get('exception')!r}")


def talk_to_server(blocks: Iterable[bytes]) -> bytes:
    """Send `blocks` and the end to a server of its own; return its answer. AssertionError when it logs a fault."""
    faults = _Faults()
    logging.getLogger().addHandler(faults)
    try:
        answer = asyncio.run(_talk(blocks, faults))
    finally:
        logging.getLogger().removeHandler(faults)
    assert not faults.texts, faults.texts[0]
    return answer


async def _talk(blocks: Iterable[bytes], faults: _Faults) -> bytes:
    asyncio.get_running_loop().set_exception_handler(faults.take)
    address = f"\0xdploaderd-fuzz-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        listener.bind(address)
        listener.listen()
        server = asyncio.create_task(
            ControlServer(FakeLoader(), listener, authorized_uids=frozenset({os.geteuid()})).run()
        )
        try:
            return await asyncio.wait_for(_exchange(address, blocks), _ANSWER_SECONDS)
        finally:
            server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server


async def _exchange(address: str, blocks: Iterable[bytes]) -> bytes:
    reader, writer = await asyncio.open_unix_connection(address)
    answer = b""
    with contextlib.suppress(ConnectionError):  # the server hangs up on who breaks the protocol
        for block in blocks:
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer

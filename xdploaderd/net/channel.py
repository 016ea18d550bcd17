"""A netlink socket that reads dumps and single answers as raw messages, without a decoder in between.

Mirrors include/uapi/linux/netlink.h: dumps in pieces, and the mark of one that was interrupted.
"""

import asyncio
import errno

from xdploaderd.errors import AttachError
from xdploaderd.net import messages
from xdploaderd.net.ethtool import driver_of
from xdploaderd.net.messages import Message
from xdploaderd.net.request import open_socket, raise_for_error

_RECV_BYTES = 65536  # the kernel's dumps come in pieces of at most 32 KiB
_DUMP_TRIES = 8
_FIRST_PAUSE = 0.001  # seconds, doubled at each try but the first: 120 ms in all


class Channel:
    """Asks and reads, one request at a time; owns its socket."""

    def __init__(self) -> None:
        self._socket = open_socket()
        self._socket.setblocking(False)
        self._lock = asyncio.Lock()
        self._seq = 0

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def driver(self, name: str) -> str:
        """Return the driver of an interface; see net.ethtool."""
        return driver_of(self._socket, name)

    async def get(self, kind: int, payload: bytes) -> Message | None:
        """Return the one answer to a request; raises AttachError with the kernel's errno and text.

        None: acknowledged without an answer, as for a qdisc that is only a placeholder. NLM_F_ECHO, because
        RTM_GETQDISC answers the asker only then.
        """
        async with self._lock:
            try:
                return await self._get(kind, payload)
            except OSError as error:
                raise _failed("request", error) from error

    async def _get(self, kind: int, payload: bytes) -> Message | None:
        await self._send(kind, messages.NLM_F_ACK | messages.NLM_F_ECHO, payload)
        answer = None
        while True:
            for message in await self._receive():
                raise_for_error(message)
                if message.type == messages.NLMSG_ERROR:
                    return answer
                answer = message

    async def dump(self, kind: int, payload: bytes) -> list[Message]:
        """Return all messages of a dump, begun anew when a change interrupted it or the socket overran.

        When changes come faster than dumps, with growing pauses between, the last dump is returned: whoever watches
        changes() will read again. Raises AttachError.
        """
        async with self._lock:
            found: list[Message] = []
            for tried in range(_DUMP_TRIES):
                try:
                    await self._send(kind, messages.NLM_F_DUMP, payload)
                    found, interrupted = await self._receive_dump()
                except OSError as error:
                    if error.errno != errno.ENOBUFS or tried == _DUMP_TRIES - 1:
                        raise _failed("dump", error) from error
                    interrupted = True
                if not interrupted:
                    break
                await asyncio.sleep(_FIRST_PAUSE * (2**tried - 1))
            return found

    async def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._seq = self._seq % 0xFFFFFFFF + 1
        await asyncio.get_running_loop().sock_sendall(
            self._socket, messages.pack_message(kind, flags, self._seq, payload)
        )

    async def _receive(self) -> list[Message]:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _RECV_BYTES)
        # A request that was cancelled leaves its answers behind: they bear an older number.
        return [message for message in messages.parse_messages(data) if message.seq == self._seq]

    async def _receive_dump(self) -> tuple[list[Message], bool]:
        found: list[Message] = []
        interrupted = False
        while True:
            for message in await self._receive():
                interrupted = interrupted or bool(message.flags & messages.NLM_F_DUMP_INTR)
                raise_for_error(message)
                if message.type in (messages.NLMSG_DONE, messages.NLMSG_ERROR):
                    return found, interrupted
                found.append(message)


def _failed(what: str, error: OSError) -> AttachError:
    return AttachError(f"netlink {what} failed: {(error.strerror or str(error)).lower()}", errno=error.errno or 0)

"""The control socket: Varlink over AF_UNIX, for root, with bounds on what a peer may send and hold.

asyncvarlink has the wire format and org.varlink.service; accepting, authorising and bounding are here, because its own
server ends for good when descriptors run out and takes frames of any length.
"""

import asyncio
import logging
import socket
import struct
from typing import Any, Final, NoReturn

from asyncvarlink import (
    FileDescriptorArray,
    GenericVarlinkErrorReply,
    VarlinkInterfaceRegistry,
    VarlinkInterfaceServerProtocol,
    VarlinkMethodCall,
    VarlinkMethodReply,
    VarlinkTransport,
)
from asyncvarlink.serviceinterface import VarlinkServiceInterface

from xdploaderd import __version__
from xdploaderd.control.api import Loader
from xdploaderd.control.interface import LoaderInterface
from xdploaderd.control.varlink import INTERFACE, MAX_CALL_BYTES, error_name, error_parameters
from xdploaderd.daemon.service.caller import Caller, caller
from xdploaderd.errors import LoaderError, NotAuthorizedError, UsageError

log = logging.getLogger(__name__)

ROOT_ONLY: Final = frozenset({0})
MAX_CLIENTS: Final = 256
MAX_STRANGERS: Final = 8  # connections of peers that may not call; so they never keep root out
MAX_PENDING_CALLS: Final = 16  # sent ahead on one connection
MAX_UNSENT_REPLIES: Final = 16  # to a peer that does not read them
IDLE_SECONDS: Final = 30.0
TAKES_DESCRIPTORS: Final = "AttachObject"
STREAMS: Final = "Monitor"  # ends with the connection
_ACCEPT_PAUSE_SECONDS = 0.2
_DRAIN_BYTES = 1 << 20
_UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class _Peer(VarlinkInterfaceServerProtocol):
    """One connection: bounded, and closed when it breaks the protocol or says nothing for long."""

    def __init__(
        self, registry: VarlinkInterfaceRegistry, connection: socket.socket, who: Caller, *, authorized: bool
    ) -> None:
        super().__init__(registry)
        self._who = who
        self._connection = connection
        self._authorized = authorized
        self._open: asyncio.BaseTransport | None = None
        self._is_cut_off = False
        self._frame_bytes = 0
        self._pending = 0
        self._running = 0
        self._unsent = 0
        self._streams: list[asyncio.Future[None]] = []
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._idle_too_long)

    def _watch_idle(self) -> None:
        self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._idle_too_long)

    def _idle_too_long(self) -> None:
        if self._running:
            self._watch_idle()
        else:
            self._cut_off("idle")

    def _cut_off(self, reason: str) -> None:
        if isinstance(self._open, VarlinkTransport):
            log.debug("connection of the control socket closed: %s", reason)
            self._is_cut_off = True
            _end_reading(self._connection)
            self._open.abort()
            self._open = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._open = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = None
        self._idle.cancel()
        self._end_streams()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._end_streams()
        super().eof_received()

    def _end_streams(self) -> None:
        """End what would go on answering a peer that is gone until the next change."""
        for stream in self._streams:
            stream.cancel()
        self._streams.clear()

    def message_received(self, data: bytes, fds: FileDescriptorArray | None) -> None:
        if self._open is None:
            return
        self._watch_idle()
        _, ended, rest = data.rpartition(b"\0")
        self._frame_bytes = len(rest) if ended else self._frame_bytes + len(data)
        self._pending += data.count(b"\0")
        if self._frame_bytes > MAX_CALL_BYTES or self._pending > MAX_PENDING_CALLS:
            self._cut_off("too much at once")
            return
        try:
            super().message_received(data, fds)
        except (ValueError, RecursionError):  # no UTF-8, or nested too deeply
            self._cut_off("no JSON")

    def error_received(self, err: Exception, data: bytes, fds: FileDescriptorArray | None) -> None:
        self._cut_off("no JSON object")

    def request_received(self, obj: Any, fds: FileDescriptorArray | None) -> asyncio.Future[None] | None:
        self._pending -= 1
        if self._is_cut_off:  # what it had sent before is queued still
            return None
        answer: asyncio.Future[None] | None = super().request_received(obj, fds)
        return answer

    def call_received(self, call: VarlinkMethodCall, fds: FileDescriptorArray | None) -> asyncio.Future[None] | None:
        if call.method_interface == INTERFACE and not self._authorized:
            raise _error_reply(NotAuthorizedError("only root may use the control socket"))
        if call.method_name == STREAMS and self._streams:
            raise _error_reply(UsageError("this connection has a call of Monitor already"))
        caller.set(self._who)  # the call's task takes this context with it
        taken = fds if call.method_name == TAKES_DESCRIPTORS else None  # what no call takes is closed right away
        running: asyncio.Future[None] | None = super().call_received(call, taken)
        if running is not None:
            self._running += 1
            running.add_done_callback(self._ended)
            if call.method_name == STREAMS:
                self._streams.append(running)
                running.add_done_callback(_log_fault)
                return None  # so that reading goes on, and tells when the peer is gone
        return running

    def _ended(self, _done: asyncio.Future[None]) -> None:
        self._running -= 1
        self._watch_idle()

    def send_reply(
        self, reply: VarlinkMethodReply, fds: list[int] | None = None, autoclose: bool = True
    ) -> asyncio.Future[None]:
        sent: asyncio.Future[None] = super().send_reply(reply, fds, autoclose)
        self._unsent += 1
        sent.add_done_callback(self._reply_sent)
        if self._unsent > MAX_UNSENT_REPLIES:
            self._cut_off("answers are not read")
        return sent

    def _reply_sent(self, _done: asyncio.Future[None]) -> None:
        self._unsent -= 1

    def handle_call_exception(self, exc: BaseException, oneway: bool) -> NoReturn:
        if isinstance(exc, LoaderError):
            raise _error_reply(exc)
        log.error("a call failed by a fault of the daemon", exc_info=exc)
        raise _error_reply(LoaderError("internal error of the daemon; its log says more"))


def _log_fault(ended: asyncio.Future[None]) -> None:
    if not ended.cancelled() and (error := ended.exception()) is not None:
        log.error("a call failed by a fault of the daemon", exc_info=error)


def _end_reading(connection: socket.socket) -> None:
    """End the read loop, which abort() does not while there is something to read: a NUL each is a million frames."""
    connection.shutdown(socket.SHUT_RDWR)
    while connection.recv(_DRAIN_BYTES, socket.MSG_DONTWAIT):  # what the peer has sent, and no more will come
        pass


def _error_reply(error: LoaderError) -> GenericVarlinkErrorReply:
    return GenericVarlinkErrorReply(error_name(error), error_parameters(error))


class _Transport(VarlinkTransport):
    MAX_RECV_FDS = 2  # more than a call takes: the kernel drops the rest
    RECV_BUFFER_SIZE = MAX_CALL_BYTES  # a call in one piece: descriptors come with the first


class ControlServer:
    """Serves a listening socket; whoever made the socket closes it."""

    def __init__(
        self, service: Loader, listener: socket.socket, *, authorized_uids: frozenset[int] = ROOT_ONLY
    ) -> None:
        self._listener = listener
        self._authorized_uids = authorized_uids
        self._registry = VarlinkInterfaceRegistry()
        self._registry.register_interface(LoaderInterface(service))
        about = VarlinkServiceInterface("xdploaderd", "xdploaderd", __version__, "", self._registry)
        self._registry.register_interface(about)
        self._clients: dict[_Transport, bool] = {}

    async def run(self) -> NoReturn:
        """Accept and serve until cancelled; then every connection is closed."""
        self._listener.setblocking(False)
        try:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:  # such as EMFILE: it passes, or the next one is served
                    log.warning("no connection accepted on the control socket: %s", error)
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                self._serve(connection)
        finally:
            for client in tuple(self._clients):
                client.abort()
            await asyncio.gather(*(client.closed_future for client in tuple(self._clients)))

    def _serve(self, connection: socket.socket) -> None:
        pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        authorized = uid in self._authorized_uids
        strangers = sum(not known for known in self._clients.values())
        if len(self._clients) >= MAX_CLIENTS or (not authorized and strangers >= MAX_STRANGERS):
            connection.close()
            return
        peer = _Peer(self._registry, connection, Caller("varlink", uid, pid), authorized=authorized)
        transport = _Transport(asyncio.get_running_loop(), connection, connection, peer)
        self._clients[transport] = authorized
        transport.closed_future.add_done_callback(lambda _done: self._clients.pop(transport, None))

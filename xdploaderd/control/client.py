"""Blocking client of the control socket; nothing but the standard library, for a command line that starts quickly."""

import errno
import os
import socket
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xdploaderd.control.varlink import INTERFACE, MAX_REPLY_BYTES, encode_frame, parse_reply
from xdploaderd.errors import LoaderError, NotAuthorizedError, UnreachableError

DEFAULT_SOCKET = "/run/xdploaderd/control"
SOCKET_VARIABLE = "XDPLOADERD_SOCKET"
_CHUNK_BYTES = 65536
_SHORTEST_WAIT = 0.001  # seconds: 0 would mean not to wait at all
_HINT = "is xdploaderd running? (systemctl status xdploaderd; another socket: --socket or XDPLOADERD_SOCKET)"


class ControlClient:
    """Calls the daemon at `path`, each call over a connection of its own; waits `timeout` seconds for an answer."""

    def __init__(self, path: Path, *, timeout: float = 300.0) -> None:
        self._path = path
        self._timeout = timeout

    def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, descriptors: Sequence[int] = ()
    ) -> Mapping[str, Any]:
        """Return the reply's parameters. `method` is one of the daemon's own interface, or a qualified name.

        `descriptors` are sent along, and stay the caller's; a parameter names one by its index.

        Raises the LoaderError that the daemon raised, UnreachableError when nobody answers, NotAuthorizedError when
        the socket's permissions keep the caller out.
        """
        qualified = method if "." in method else f"{INTERFACE}.{method}"
        frame = encode_frame({"method": qualified, "parameters": dict(parameters or {})})
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(os.fspath(self._path))
                return parse_reply(_exchange(connection, frame, descriptors))
            except OSError as error:
                raise self._unreachable(error) from error

    def open(self, method: str, parameters: Mapping[str, Any]) -> int:
        """Return the descriptor, the caller's, that a method answers with. Raises as call() does."""
        frame = encode_frame({"method": f"{INTERFACE}.{method}", "parameters": dict(parameters)})
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(os.fspath(self._path))
                connection.sendall(frame)
                received, fds, _, _ = socket.recv_fds(connection, _CHUNK_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
                try:
                    answer = received if b"\0" in received else received + _read_frame(connection)
                    parse_reply(answer.partition(b"\0")[0])
                    if not fds:
                        raise UnreachableError("what answers on the control socket sent no descriptor")
                except BaseException:
                    for fd in fds:
                        os.close(fd)
                    raise
            except OSError as error:
                raise self._unreachable(error) from error
        return fds[0]

    def stream(self, method: str, *, deadline: float | None = None) -> Generator[Mapping[str, Any], None, None]:
        """Yield each reply of a method that goes on answering.

        Raises TimeoutError at `deadline` (time.monotonic), and the errors of call(): UnreachableError when it ends.
        """
        frame = encode_frame({"method": f"{INTERFACE}.{method}", "parameters": {}, "more": True})
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            try:
                connection.connect(os.fspath(self._path))
                connection.sendall(frame)
                for answer in _frames(connection, deadline):
                    yield parse_reply(answer)
            except TimeoutError:
                raise
            except OSError as error:
                raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> LoaderError:
        place = f"control socket '{self._path}'"
        match error.errno:
            case errno.EACCES | errno.EPERM:
                return NotAuthorizedError(f"{place} is open to root only")
            case errno.ENOENT:
                return UnreachableError(f"{place} does not exist; {_HINT}")
            case errno.ECONNREFUSED:
                return UnreachableError(f"nobody listens on {place}; {_HINT}")
            case errno.EPIPE | errno.ECONNRESET:
                return UnreachableError(f"the daemon at {place} closed the connection before it answered")
            case _ if isinstance(error, TimeoutError):
                return UnreachableError(f"no answer from {place} within {self._timeout:g} s")
            case _:
                return UnreachableError(f"{place} cannot be used: {error.strerror or error}; {_HINT}")


def _frames(connection: socket.socket, deadline: float | None) -> Iterator[bytes]:
    received = bytearray()
    while True:
        if deadline is not None:
            connection.settimeout(max(deadline - time.monotonic(), _SHORTEST_WAIT))
        chunk = connection.recv(_CHUNK_BYTES)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        *whole, rest = (bytes(received) + chunk).split(b"\0")
        received = bytearray(rest)
        yield from whole
        if len(received) > MAX_REPLY_BYTES:
            raise UnreachableError(f"the daemon's answer is longer than {MAX_REPLY_BYTES} bytes")


def _exchange(connection: socket.socket, frame: bytes, descriptors: Sequence[int]) -> bytes:
    sent = socket.send_fds(connection, [frame], descriptors) if descriptors else 0
    connection.sendall(frame[sent:])
    return _read_frame(connection)


def _read_frame(connection: socket.socket) -> bytes:
    received = bytearray()
    while chunk := connection.recv(_CHUNK_BYTES):
        received += chunk
        if b"\0" in chunk:
            return bytes(received.partition(b"\0")[0])
        if len(received) > MAX_REPLY_BYTES:
            raise UnreachableError(f"the daemon's answer is longer than {MAX_REPLY_BYTES} bytes")
    raise ConnectionResetError(errno.ECONNRESET, "closed")

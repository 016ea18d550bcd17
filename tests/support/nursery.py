"""Daemons that are forked from a process which has imported all: a start takes a tenth of the time, and is the same.

`python -m tests.support.nursery DESCRIPTOR` is that process; a request is a line of JSON with the arguments and the
environment, and the descriptor of standard error.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tests.support.seccomp import be_watched
from xdploaderd.__main__ import main as daemon_main

ROOT = Path(__file__).parents[2]
_MAX_REQUEST = 64 * 1024  # bytes


class Forked:
    """A process that is another's child: as much of subprocess.Popen as a Daemon asks for. Its status is not known."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return None as long as it runs, else a status."""
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return a status when it has ended; raises TimeoutExpired after so many seconds."""
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0)
        return status

    def _status(self, timeout: float | None) -> int | None:
        if self._fd < 0:
            return -signal.SIGKILL
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        if not waiting.poll(None if timeout is None else timeout * 1000):
            return None
        os.close(self._fd)
        self._fd = -1
        return -signal.SIGKILL


class Nursery:
    """The client of the process that forks; `watch`: the socket of a Watch that is to see all calls."""

    def __init__(self, connection: socket.socket, watch: Path) -> None:
        self._connection = connection
        self._watch = watch

    def spawn(self, command: Sequence[str], environ: Mapping[str, str], errors: int) -> Forked:
        """Start a daemon with the arguments of this command line, which begins as Daemon.command()."""
        request = {"argv": command[3:], "environ": dict(environ), "watch": str(self._watch)}
        socket.send_fds(self._connection, [json.dumps(request).encode()], [errors])
        return Forked(int(self._connection.recv(32)))


@contextmanager
def nursery(watch: Path) -> Iterator[Nursery]:
    """A Nursery, whose process is gone after the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=(theirs.fileno(),))
        theirs.close()
        try:
            yield Nursery(ours, watch)
        finally:
            ours.close()
            process.wait()


def main(descriptor: str) -> None:
    """Fork a daemon for each request until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as connection:
        while True:
            raw, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 1)
            if not raw:
                return
            pid = os.fork()
            if not pid:
                connection.close()
                _be_a_daemon(json.loads(raw), descriptors[0])
            os.close(descriptors[0])
            connection.send(str(pid).encode())


def _be_a_daemon(request: Mapping[str, Any], errors: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(errors, 2)
    os.close(errors)
    os.environ.clear()
    os.environ.update(request["environ"])
    be_watched(request["watch"])
    sys.exit(daemon_main(request["argv"]))


if __name__ == "__main__":
    main(sys.argv[1])

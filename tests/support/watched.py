"""System calls of a process in the order of the process, whichever thread makes them, and its death at one of them.

A seccomp listener holds each call until it is let through. So calls are counted for the process, where `when=` of
strace(1) counts for each thread, and no other call is slowed. At the fatal call the process is killed by SIGKILL, and
the call is not carried out.
"""

import fcntl
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.seccomp import CONTINUE, NUMBERS, RECV, SEND, Answer, Notification, fetched
from xdploaderd.uapi.bpf import BpfCmd

_NAMES = {number: name for name, number in NUMBERS.items()}
_PATHS = {"rename": (0, 1), "renameat": (1, 3), "renameat2": (1, 3), "mkdir": (0,), "mkdirat": (1,), "rmdir": (0,),
          "unlink": (0,), "unlinkat": (1,)}  # fmt: skip
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`-th call since the counting began, and what it is about: a bpf(2) command or paths."""

    number: int
    name: str
    about: str

    def __str__(self) -> str:
        return f"call {self.number}, {self.name}({self.about})"


class Watch:
    """Watches every process that connects to `path` (tests.support.seccomp.be_watched), one at a time."""

    def __init__(self, listening: socket.socket, path: Path) -> None:
        self.path = path
        self._listening = listening
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._fatal = 0
        self._killed: Call | None = None

    def begin(self, fatal: int = 0) -> None:
        """Count from now on, and let the process die at the `fatal`-th call, at none where that is 0."""
        with self._lock:
            self._calls, self._fatal, self._killed = [], fatal, None

    def end(self) -> Sequence[Call]:
        """Let no call be fatal any more; return those since the beginning."""
        with self._lock:
            self._fatal = 0
            return tuple(self._calls)

    @property
    def killed(self) -> Call | None:
        """The call that the process was killed at, since begin()."""
        with self._lock:
            return self._killed

    def run(self) -> None:
        """Watch one process after the other until the socket is shut down."""
        with suppress(OSError):
            while True:
                connection = self._listening.accept()[0]
                with connection:
                    pid, listener = fetched(connection)
                try:
                    self._serve(pid, listener)
                finally:
                    os.close(listener)

    def _serve(self, pid: int, listener: int) -> None:
        """Answer until the process is gone."""
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        while waiting.poll()[0][1] & select.POLLIN:
            asked = Notification()
            with suppress(FileNotFoundError):  # a signal ended the call, or the process
                fcntl.ioctl(listener, RECV, asked)
                if self._is_fatal(pid, asked):
                    os.kill(pid, signal.SIGKILL)
                else:
                    fcntl.ioctl(listener, SEND, Answer(asked.id, 0, 0, CONTINUE))

    def _is_fatal(self, pid: int, asked: Notification) -> bool:
        name = _NAMES[asked.nr]
        with self._lock:
            if self._killed is None:
                call = Call(len(self._calls) + 1, name, _about(pid, name, asked.args))
                self._calls.append(call)
                self._killed = call if call.number == self._fatal else None
            return self._fatal > 0 and self._killed is not None


@contextmanager
def watching(directory: Path) -> Iterator[Watch]:
    """A Watch with its thread, until the end of the block; its processes must be gone by then."""
    path = directory / "watch"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        watch = Watch(listening, path)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _about(pid: int, name: str, args: Sequence[int]) -> str:
    if name == "bpf":
        return BpfCmd(args[0]).name
    return " ".join(_text(pid, args[number]) for number in _PATHS.get(name, ()))


def _text(pid: int, address: int) -> str:
    """Return a text in the process's memory; '' where it is gone."""
    with suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return (memory.read(_PAGE - address % _PAGE) or b"").partition(b"\0")[0].decode(errors="replace")
    return ""

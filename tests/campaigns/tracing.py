"""strace(1) on a running daemon: which calls an operation makes, and the kill at one of them."""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CALLS = ("bpf", "sendto", "sendmsg", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat",
         "rmdir", "fsync")  # fmt: skip
TRACED = ",".join(f"?{call}" for call in CALLS)
_LINE = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th call of a system call by a thread: 0 is the main one, then in the order they were made."""

    thread: int
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.number} of thread {self.thread}"


def threads(pid: int) -> list[int]:
    """Return the ids of a process's threads in the order they were made."""
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))


@contextmanager
def traced(words: list[str]) -> Iterator[None]:
    """Run strace with these words on processes that run, until the end of the block."""
    tracer = subprocess.Popen(["strace", *words], stderr=subprocess.PIPE, text=True)
    with tracer:
        assert tracer.stderr is not None
        assert "attached" in (line := tracer.stderr.readline()), line
        try:
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.stderr.read()


def points_of(trace: Path, known: list[int] | None = None) -> list[Point]:
    """Return every call in a trace of `strace -f`, of the known threads or all, in the order they began."""
    counts: Counter[tuple[int, str]] = Counter()
    found = []
    for match in filter(None, map(_LINE.match, trace.read_text().splitlines())):
        thread, call = int(match[1]), match[2]
        if call in CALLS and (known is None or thread in known):
            counts[thread, call] += 1
            found.append(Point(known.index(thread) if known else 0, call, counts[thread, call]))
    return found


def record(pid: int, trace: Path) -> list[str]:
    """Return the words to write all calls of a process that runs."""
    return ["-f", "-p", str(pid), "-o", str(trace), "-e", f"trace={TRACED}"]


def kill_at(pid: int, point: Point) -> list[str]:
    """Return the words that let a process that runs die as it makes that call, which is not carried out."""
    thread = threads(pid)[point.thread]
    inject = f"inject={point.call}:signal=KILL:when={point.number}"
    return ["-p", str(thread), "-o", "/dev/null", "-e", f"trace={point.call}", "-e", inject]

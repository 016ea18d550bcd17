"""What a process takes, as proc(5) tells it: memory, descriptors, threads, time, and how often it woke."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_THREADS: Final = 2 + min(32, (os.cpu_count() or 1) + 4)  # main, the worker, and the pool (concurrent.futures)
_TICKS = os.sysconf("SC_CLK_TCK")
_BPF = re.compile(r"anon_inode:\[?(bpf|btf)")  # of programs, maps, links and BTFs


@dataclass(frozen=True, slots=True)
class Held:
    """What must be the same again when all is done; `bpf` are the descriptors of programs, maps, links and BTFs."""

    descriptors: int
    bpf: int


def rss(pid: int) -> int:
    """Return the resident memory in KiB."""
    return _status(pid, "VmRSS")


def cpu(pid: int) -> float:
    """Return the seconds of CPU time that it took, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def wake_ups(pid: int) -> int:
    """Return how often any of its threads went to sleep, which is how often one woke."""
    return sum(_status(int(thread), "voluntary_ctxt_switches") for thread in os.listdir(f"/proc/{pid}/task"))


def held(pid: int) -> Held:
    """Return what it holds when the last client's connection has been closed."""
    counts = []
    for _ in range(10):
        targets = descriptors(pid)
        bpf = sum(_BPF.match(target) is not None for target in targets)
        counts.append((len(targets), bpf))
        time.sleep(0.02)
    return Held(*min(counts))


def threads(pid: int) -> int:
    """Return the number of its threads; AssertionError for more than the daemon may ever have.

    The pool of asyncio.to_thread() makes another one whenever none is idle at that moment, so that the number is
    settled only when it is full.
    """
    count = len(os.listdir(f"/proc/{pid}/task"))
    assert count <= MAX_THREADS, f"{count} threads, want at most {MAX_THREADS}"
    return count


def descriptors(pid: int) -> list[str]:
    """Return what every open descriptor leads to."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def _status(task: int, name: str) -> int:
    lines = Path(f"/proc/{task}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])

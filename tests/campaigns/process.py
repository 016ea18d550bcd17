"""What a process takes, as proc(5) tells it: memory, descriptors, threads, time, and how often it woke."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_BPF = re.compile(r"anon_inode:\[?(bpf|btf)")  # of programs, maps, links and BTFs


@dataclass(frozen=True, slots=True)
class Held:
    """What must be the same again when all is done; `bpf` are the descriptors of programs, maps, links and BTFs."""

    descriptors: int
    bpf: int
    threads: int


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
        counts.append((len(targets), bpf, len(os.listdir(f"/proc/{pid}/task"))))
        time.sleep(0.02)
    return Held(*min(counts))


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

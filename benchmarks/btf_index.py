"""Index the running kernel's BTF: our Btf against libbpf's btf__parse, in pairs of fresh processes.

usage: python -m benchmarks.btf_index [ROUNDS]

Measured are the CPU time until every type's place and the first type by name are known, reading the file included and
starting the process not, and the memory that is the process's own afterwards (a mapped file is the page cache's). A
second line has the time until the first type by name is known and, of the others, as many places as that takes. The
first round warms what is measured for no side: the page cache and compiled modules.
"""

import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import pairs
from benchmarks.libbpf import library
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind
from xdploaderd.kernel.syscall import map_file

VMLINUX = Path("/sys/kernel/btf/vmlinux")
WANTED = "sk_buff"
BTF_KIND_STRUCT = 4
TIME_GOAL = 4.5
MEMORY_GOAL = 1.5  # MiB


def index_ours() -> object:
    """Index the kernel's BTF whole and find a struct."""
    btf = find_first()
    assert len(btf)
    return btf


def find_first() -> Btf:
    """Find a struct in the kernel's BTF, as the first object with CO-RE records makes us do."""
    try:
        raw: bytes | memoryview = map_file(str(VMLINUX))
    except OSError:  # before Linux 6.16 the file cannot be mapped
        raw = VMLINUX.read_bytes()
    btf = Btf.parse(raw, name="vmlinux", trusted=True)
    assert btf.ids_by_essential_name(WANTED, {BtfKind.STRUCT})
    return btf


def index_libbpf(lib: ctypes.CDLL) -> object:
    """Let libbpf do the same."""
    btf = ctypes.c_void_p(lib.btf__parse(str(VMLINUX).encode(), None))
    assert lib.btf__find_by_name_kind(btf, WANTED.encode(), BTF_KIND_STRUCT) > 0
    return btf


def measure(index: Callable[[], object]) -> tuple[float, float]:
    """Return CPU milliseconds, and MiB that the process has for itself afterwards."""
    before, start = _own_memory(), time.process_time()
    kept = index()
    milliseconds = (time.process_time() - start) * 1e3
    return milliseconds, (_own_memory() - before, kept)[0]


def _own_memory() -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("smaps_rollup does not tell the anonymous memory")


def _child(mode: str) -> tuple[float, float]:
    argv = [sys.executable, "-m", "benchmarks.btf_index", mode]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    milliseconds, memory = map(float, done.stdout.split())
    return milliseconds, memory


def run(rounds: int) -> None:
    """Measure by turns and print both goals, and how far the pairs' ratios spread."""
    found = [(_child("ours"), _child("first"), _child("libbpf")) for _ in range(rounds + 1)][1:]
    (times, memory), (first, _), (their_times, their_memory) = (
        zip(*side, strict=True) for side in zip(*found, strict=True)
    )
    for title, mine in (("vmlinux BTF read, index, first name", times), ("  without the rest of the index", first)):
        pairs.show(title, statistics.median(mine), statistics.median(their_times), "libbpf btf__parse", TIME_GOAL)
        pairs.show_spread([ours / theirs for ours, theirs in zip(mine, their_times, strict=True)])
    pairs.show_memory(
        "vmlinux BTF, memory of the index",
        statistics.median(memory),
        statistics.median(their_memory),
        "libbpf btf__parse",
        MEMORY_GOAL,
    )


def main(mode: str) -> None:
    """Be one side of a pair, or run ROUNDS pairs."""
    match mode:
        case "ours":
            print(*measure(index_ours))
        case "first":
            print(*measure(find_first))
        case "libbpf":
            lib = library()
            print(*measure(lambda: index_libbpf(lib)))
        case _:
            run(int(mode))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "15")

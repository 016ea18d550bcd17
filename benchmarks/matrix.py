"""A matrix of objects and kernels: `xdploaderctl prepare` beside bpftool, which decides the same records pair by pair.

    python -m benchmarks.matrix OBJECTS-DIR BTF-DIR [OBJECTS [ROUNDS]]

CPU time of whole processes, by turns; bpftool runs once for each pair, since it takes one kernel and keeps nothing.
Objects without CO-RE records cost bpftool nothing but its start; ours checks them all the same.
"""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from xdploaderd.kernel.btf_search import btf_files

RUNNING = Path("/sys/kernel/btf/vmlinux")


def main() -> None:
    """Print one line: CPU seconds of both, the ratio, and our peak memory."""
    objects = sorted(Path(sys.argv[1]).glob("*.o"))[: int(sys.argv[3]) if len(sys.argv) > 3 else 50]
    kernels = [*btf_files(Path(sys.argv[2])), RUNNING]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    ours, theirs, peak = [], [], 0.0
    for _ in range(rounds):
        ours.append(_cpu(lambda: _prepare(objects, kernels)))
        peak = peak or resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        theirs.append(_cpu(lambda: _bpftool(objects, kernels)))
    mine, peers = statistics.median(ours), statistics.median(theirs)
    print(
        f"matrix of {len(objects)} objects x {len(kernels)} kernels: ours {mine:.2f} s, bpftool {peers:.2f} s,"
        f" ratio {mine / peers:.2f}, peak {peak:.0f} MiB"
    )


def _cpu(run: Callable[[], None]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _prepare(objects: list[Path], kernels: list[Path]) -> None:
    files = [word for kernel in kernels for word in ("--btf", str(kernel))]
    command = [sys.executable, "-m", "xdploaderd.cli.main", "prepare", "--json", *map(str, objects), *files]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


def _bpftool(objects: list[Path], kernels: list[Path]) -> None:
    for kernel in kernels:
        for obj in objects:
            command = ["bpftool", "gen", "min_core_btf", str(kernel), "/dev/null", str(obj)]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()

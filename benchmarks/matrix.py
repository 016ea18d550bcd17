"""What `xdploaderctl prepare` takes for a matrix of objects and kernels: CPU time, time that passes, peak memory.

usage: python -m benchmarks.matrix BTF... -- OBJECT...
"""

import resource
import subprocess
import sys
import time

from benchmarks.btfgen import COMMAND

HOLDS, FAILS, UNKNOWN = 0, 1, 3


def run(kernels: list[str], objects: list[str]) -> None:
    """Run the command once and print what it took."""
    options = [word for kernel in kernels for word in ("--btf", kernel)]
    argv = [sys.executable, "-c", COMMAND, "prepare", "--json", *options, *objects]
    before = time.monotonic()
    done = subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - before
    if done.returncode not in (HOLDS, FAILS, UNKNOWN):
        raise RuntimeError(f"the command ended with {done.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cells = len(kernels) * len(objects)
    cpu = used.ru_utime + used.ru_stime
    print(f"prepare: {len(objects)} objects x {len(kernels)} kernels: {cpu:.1f} s of CPU, {seconds:.1f} s in all,")
    print(f"{cpu / cells * 1000:.1f} ms of CPU a cell, peak {used.ru_maxrss / 1024:.1f} MiB")


if __name__ == "__main__":
    split = sys.argv.index("--")
    run(sys.argv[1:split], sys.argv[split + 1 :])

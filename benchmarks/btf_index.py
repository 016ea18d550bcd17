"""Index the running kernel's BTF: our Btf against libbpf's btf__parse, CPU time of fresh processes, in pairs.

usage: python -m benchmarks.btf_index [ROUNDS]

`index` finds every type's place; `name` is the first question for a type by name on top.
"""

import ctypes
import statistics
import subprocess
import sys
import time
from pathlib import Path

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind
from xdploaderd.kernel.syscall import map_file

VMLINUX = Path("/sys/kernel/btf/vmlinux")
WANTED = "sk_buff"
BTF_KIND_STRUCT = 4


def measure_ours() -> tuple[float, float]:
    """Return CPU milliseconds of the index, and of the first look-up after it."""
    start = time.process_time()
    try:
        raw: bytes | memoryview = map_file(str(VMLINUX))
    except OSError:  # before Linux 6.16 the file cannot be mapped
        raw = VMLINUX.read_bytes()
    btf = Btf.parse(raw, name="vmlinux", trusted=True)
    len(btf)
    indexed = time.process_time()
    assert btf.ids_by_essential_name(WANTED, {BtfKind.STRUCT})
    return (indexed - start) * 1e3, (time.process_time() - indexed) * 1e3


def measure_libbpf() -> tuple[float, float]:
    """Return the same of libbpf."""
    library = ctypes.CDLL("libbpf.so.1")
    library.btf__parse.restype = ctypes.c_void_p
    start = time.process_time()
    btf = ctypes.c_void_p(library.btf__parse(str(VMLINUX).encode(), None))
    indexed = time.process_time()
    assert library.btf__find_by_name_kind(btf, WANTED.encode(), BTF_KIND_STRUCT) > 0
    return (indexed - start) * 1e3, (time.process_time() - indexed) * 1e3


def child(mode: str) -> tuple[float, float]:
    """Measure in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.btf_index", mode], check=True, capture_output=True, text=True
    )
    index, name = map(float, done.stdout.split())
    return index, name


def main() -> None:
    """Measure in turns, print medians and the median of the pairs' ratios."""
    mode = sys.argv[1] if len(sys.argv) > 1 else "9"
    if mode in {"ours", "libbpf"}:
        print(*(measure_ours() if mode == "ours" else measure_libbpf()))
        return
    pairs = [(child("ours"), child("libbpf")) for _ in range(int(mode))]
    for column, what in enumerate(("index", "name")):
        ours, theirs = ([pair[side][column] for pair in pairs] for side in (0, 1))
        print(f"{what:6} ours {statistics.median(ours):7.2f} ms  libbpf {statistics.median(theirs):7.2f} ms")
    index = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    both = statistics.median(sum(ours) / sum(theirs) for ours, theirs in pairs)
    print(f"ratio  index {index:.2f}, index and name {both:.2f} (median of {len(pairs)} pairs)")


if __name__ == "__main__":
    main()

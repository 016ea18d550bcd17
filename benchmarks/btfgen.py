"""BTFGen of some objects for the running kernel: xdploaderctl btfgen, and minimize() alone, beside bpftool.

usage: python -m benchmarks.btfgen ROUNDS OBJECT...
"""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import pairs
from benchmarks.btf_index import VMLINUX
from xdploaderd.kernel.vmlinux import vmlinux_btf
from xdploaderd.obj.btf_sections import read_core_object
from xdploaderd.obj.minimize import minimize

COMMAND = "import sys; from xdploaderd.cli.main import main; sys.exit(main())"  # as the installed script
WHOLE_GOAL, IN_PROCESS_GOAL = 2.5, 0.5


def run(objects: list[Path], rounds: int) -> None:
    """Measure the whole commands by turns, and the work in process with the kernel's index warm against bpftool's."""
    title, names = f"btfgen: {len(objects)} objects", list(map(str, objects))
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-c", COMMAND, "btfgen", "--btf", str(VMLINUX), "-o", f"{folder}/ours.btf", *names]
        theirs = ["bpftool", "gen", "min_core_btf", str(VMLINUX), f"{folder}/theirs.btf", *names]
        mine, others = pairs.whole_process(ours, theirs, rounds=rounds)
    pairs.show(f"{title}, command", mine, others, "bpftool", WHOLE_GOAL)
    work = partial(_minimise, objects)
    work()  # makes the index
    warm = statistics.median(pairs.cpu(work) for _ in range(rounds))
    pairs.show(f"{title}, in process", warm, others, "bpftool", IN_PROCESS_GOAL)


def _minimise(objects: list[Path]) -> bytes:
    return minimize(vmlinux_btf(), [read_core_object(path.read_bytes(), name=path.name) for path in objects])


if __name__ == "__main__":
    run([Path(name) for name in sys.argv[2:]], int(sys.argv[1]))

#!/usr/bin/env python3
"""Load objects, index a kernel's BTF and start the command line, each beside a peer in the same run.

usage: bench.py [ROUNDS]      (root; in namespaces of its own; ratios are what counts, times depend on the machine)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import libbpf, pairs
from tests.support import sandbox
from tests.support.loading import OBJECTS, load_file
from xdploaderd.kernel.bpf import Bpf

PYTHON = sys.executable


def bench_load(title: str, name: str, rounds: int) -> None:
    """Measure open, prepare and load (kernel work included) against libbpf's open and load, both warm."""
    bpf, lib, path = Bpf(), libbpf.library(), str(OBJECTS / f"{name}.bpf.o")

    def ours() -> None:
        with load_file(name, bpf) as loaded:
            loaded.commit()

    mine, theirs = pairs.in_process(ours, lambda: libbpf.open_and_load(lib, path), rounds=rounds)
    pairs.show(f"{title}: {name}", mine, theirs, "libbpf open+load")


def bench_start(title: str, argv: list[str], rounds: int) -> None:
    """Measure a whole process against a bare interpreter's."""
    mine, theirs = pairs.whole_process([PYTHON, *argv], [PYTHON, "-I", "-S", "-c", "pass"], rounds=rounds)
    pairs.show(title, mine, theirs, "python -I -S -c pass")


def main(rounds: int) -> None:
    """Run every pair."""
    sandbox.enter_sandbox()
    bench_load("load, plain object", "xdp_pass", rounds)
    bench_load("load, global data", "std_globals", rounds)
    bench_load("load, CO-RE object", "demo_xdp", rounds)
    bench_load("load, subprograms", "std_calls", rounds)
    bench_start("start: xdploaderctl version", ["-m", "xdploaderd.cli.main", "version"], rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)

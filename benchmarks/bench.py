"""Load objects, open a big one, index a kernel's BTF and start commands, each beside a peer in the same run.

A line is one goal of docs/performance.md: our median CPU time (or memory), the peer's, their ratio, the goal.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from benchmarks import btf_index, btfgen, libbpf, pairs
from benchmarks.big_object import build_big_object
from tests.support import sandbox
from tests.support.loading import DEFAULT_PINS, OBJECTS
from tools.arguments import count
from tools.ending import end_with
from xdploaderd.config.attachments import AttachmentConfig, AttachmentName
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.daemon.wanted.prepared_cache import PreparedCache
from xdploaderd.hooks import Hook
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import load
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import Need, PreparedObject, TargetKernel

PYTHON = sys.executable
CONTROL = "from xdploaderd.cli.main import main; main()"  # as the installed script
CORE_FIRST, CORE_WARM = 0.3, 0.15
PLAIN_FIRST, PLAIN_WARM = 12.0, 2.0
BIG_OPEN, START = 4.0, 3.0
PREPARE = 3.0
LOAD_MEMORY = 60.0  # MiB


def bench_first_sight(path: Path, goal: float, rounds: int) -> None:
    """Measure open, prepare and load of an object never seen before, kernel work included."""
    bpf, lib = Bpf(), libbpf.library()

    def ours() -> None:
        obj = select_programs(open_object(path.read_bytes(), name=path.name))
        _load(prepare(obj, running_kernel(bpf, target_needs(obj))), bpf)

    mine, theirs = pairs.in_process(ours, lambda: libbpf.open_and_load(lib, str(path)), rounds=rounds)
    pairs.show(f"first sight: {path.name}", mine, theirs, "libbpf open+load", goal)


def bench_warm(path: Path, goal: float, rounds: int) -> None:
    """Measure the load of an object that the daemon has prepared before: it reads the file, and finds it known."""
    bpf, lib = Bpf(), libbpf.library()
    targets: dict[frozenset[Need], TargetKernel] = {}
    name = next(iter(select_programs(open_object(path.read_bytes(), name=path.name)).programs))
    config = AttachmentConfig(
        name=AttachmentName("bench"), interface="eth0", hook=Hook.XDP, object=PurePosixPath(path), program=name
    )

    def target(needs: frozenset[Need]) -> TargetKernel:
        return targets.setdefault(needs, targets.get(needs) or running_kernel(bpf, needs))

    cache = PreparedCache(target)
    mine, theirs = pairs.in_process(
        lambda: _load(cache.prepare(config, read_object(config.object)), bpf),
        lambda: libbpf.open_and_load(lib, str(path)),
        rounds=rounds,
    )
    pairs.show(f"warm: {path.name}", mine, theirs, "libbpf open+load", goal)


def bench_relocation(path: Path, rounds: int) -> None:
    """Measure prepare of an object just opened, the kernel's index warm, against libbpf's relocation step.

    libbpf has no call for that step: it is what loading takes, less reading the kernel's BTF, and less loading with a
    BTF that has nothing but what the object's records need.
    """
    bpf, lib = Bpf(), libbpf.library()
    small = _minimised(path, bpf)
    found = []
    for _ in range(rounds):
        obj = select_programs(open_object(path.read_bytes(), name=path.name))
        target = running_kernel(bpf, target_needs(obj))
        whole = pairs.cpu(lambda: libbpf.open_and_load(lib, str(path)))
        parse = pairs.cpu(lambda: libbpf.parse_btf(lib, str(btf_index.VMLINUX)))
        rest = pairs.cpu(lambda: libbpf.open_and_load(lib, str(path), btf=str(small)))
        found.append((pairs.cpu(partial(prepare, obj, target)), whole - parse - rest))
    small.unlink()
    mine, theirs = map(statistics.median, zip(*found, strict=True))
    pairs.show(f"prepare: {path.name}", mine, theirs, "libbpf relocation", PREPARE)


def _minimised(path: Path, bpf: Bpf) -> Path:
    obj = open_object(path.read_bytes(), name=path.name)
    vmlinux = running_kernel(bpf, target_needs(obj)).btfs[0]
    with tempfile.NamedTemporaryFile(suffix=".btf", delete=False) as file:
        file.write(minimize(vmlinux, [obj]))
    return Path(file.name)


def _load(prepared: PreparedObject, bpf: Bpf) -> None:
    with load(prepared, bpf, DEFAULT_PINS) as loaded:
        loaded.commit()


def bench_big_open(rounds: int) -> None:
    """Measure the opening of an object with thousands of symbols, relocations and line records."""
    lib = libbpf.library()
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(build_big_object())
        file.flush()
        path = Path(file.name)
        mine, theirs = pairs.in_process(
            lambda: open_object(path.read_bytes(), name=path.name),
            lambda: libbpf.open_only(lib, str(path)),
            rounds=rounds,
        )
    pairs.show("open: 2.8 MB, 7,500 relocations", mine, theirs, "libbpf open", BIG_OPEN)


def bench_start(title: str, argv: list[str], rounds: int) -> None:
    """Measure a whole process against a bare interpreter's."""
    mine, theirs = pairs.whole_process([PYTHON, *argv], [PYTHON, "-I", "-S", "-c", "pass"], rounds=rounds)
    pairs.show(title, mine, theirs, "python -I -S -c pass", START)


def bench_load_memory(path: Path) -> None:
    """Measure the largest resident size of a load by the command, and of a bare interpreter."""
    mine = pairs.peak_memory(CONTROL, ["load", str(path), str(sandbox.BPFFS / "bench")])
    theirs = pairs.peak_memory("", [], options=["-I", "-S"])
    sandbox.clear_pins()
    pairs.show_memory(f"peak of xdploaderctl load {path.name}", mine, theirs, "python -I -S -c pass", LOAD_MEMORY)


def main() -> None:
    """Run every pair."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("rounds", metavar="ROUNDS", nargs="?", type=count, default=15, help="of each (%(default)s)")
    parser.add_argument("objects", metavar="OBJECT", nargs="*", type=Path, help="with CO-RE records: loaded besides")
    args = parser.parse_args()
    if missing := [str(path) for path in args.objects if not path.is_file()]:
        parser.error(f"no object {', '.join(missing)}")
    sandbox.enter_sandbox()
    _measure(args.rounds, args.objects)


def _measure(rounds: int, more: Sequence[Path]) -> None:
    plain = [OBJECTS / f"{name}.bpf.o" for name in ("xdp_pass", "std_globals", "std_calls")]
    core = OBJECTS / "demo_xdp.bpf.o"
    for path in plain:
        bench_first_sight(path, PLAIN_FIRST, rounds)
    for path in (core, *more):
        bench_first_sight(path, CORE_FIRST, rounds)
    for path in plain[:2]:  # of one program each, since an entry loads one and libbpf all
        bench_warm(path, PLAIN_WARM, rounds)
    bench_warm(core, CORE_WARM, rounds)
    for path in (core, *more):
        bench_relocation(path, rounds)
    bench_big_open(max(5, rounds // 3))
    btf_index.run(max(15, rounds))
    bench_start("start: xdploaderctl version", ["-c", CONTROL, "version"], rounds)
    bench_start("start: xdploaderctl load --help", ["-c", CONTROL, "load", "--help"], rounds)
    btfgen.run_folders(max(5, rounds // 3))
    bench_load_memory(plain[0])


if __name__ == "__main__":
    end_with(main)

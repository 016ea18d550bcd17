"""BTFGen of ten objects for the running kernel: xdploaderctl btfgen, and minimize() alone, beside bpftool.

usage: python -m benchmarks.btfgen ROUNDS [FOLDER...]      (needs no root)

Of each folder three tens are taken: the objects with most CO-RE records, the largest files, and the smallest files with
records; where nearly none has any, the largest alone. Without FOLDER: this project's own objects, the corpus, and the
kernel's CO-RE selftests, as far as `./dev corpus` and the tests have built them.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import pairs
from benchmarks.btf_index import VMLINUX
from tests.support.tools import CACHE
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.vmlinux import vmlinux_btf
from xdploaderd.obj.btf_sections import CoreObject, read_core_object
from xdploaderd.obj.minimize import minimize

COMMAND = "import sys; from xdploaderd.cli.main import main; sys.exit(main())"  # as the installed script
WHOLE_GOAL, IN_PROCESS_GOAL = 2.5, 0.5
TEN = 10
OBJECTS = Path(__file__).parents[1] / "tests" / "bpf"
CORPUS = Path(os.environ.get("XDPLOADERD_CORPUS", CACHE / "corpus"))


def run_folders(rounds: int, folders: Sequence[Path] = (OBJECTS, CORPUS / "obj", CORPUS / "core-6.12")) -> None:
    """Measure every ten of the folders that are there."""
    for folder in folders:
        for title, objects in _tens(folder):
            run(f"{folder.name}, {title}", objects, rounds)


def _tens(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    counts = {path: _records(path) for path in sorted(folder.glob("*.o"))}
    by_size = sorted(
        (path for path, count in counts.items() if count is not None), key=lambda path: path.stat().st_size
    )
    with_records = [path for path in by_size if counts[path]]
    if len(with_records) >= TEN:
        yield "most records", sorted(with_records, key=lambda path: counts[path] or 0)[-TEN:]
        yield "smallest", with_records[:TEN]
    if len(by_size) >= TEN:
        yield "largest", by_size[-TEN:]


def _records(path: Path) -> int | None:
    """Return the number of an object's CO-RE records, None for one that neither side takes."""
    try:
        return sum(map(len, _read(path).btf_ext.core_relos.values()))
    except LoaderError:
        return None


def run(title: str, objects: list[Path], rounds: int) -> None:
    """Measure the whole commands by turns, and the work in process with the kernel's index warm against bpftool's."""
    names = list(map(str, objects))
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-c", COMMAND, "btfgen", "--btf", str(VMLINUX), "-o", f"{folder}/ours.btf", *names]
        theirs = ["bpftool", "gen", "min_core_btf", str(VMLINUX), f"{folder}/theirs.btf", *names]
        mine, others = pairs.whole_process(ours, theirs, rounds=rounds)
    pairs.show(f"btfgen: {title}", mine, others, "bpftool", WHOLE_GOAL)
    work = partial(_minimise, objects)
    work()  # makes the index
    warm = statistics.median(pairs.cpu(work) for _ in range(rounds))
    pairs.show("  the same in process", warm, others, "bpftool", IN_PROCESS_GOAL)


def _minimise(objects: list[Path]) -> bytes:
    return minimize(vmlinux_btf(), map(_read, objects))


def _read(path: Path) -> CoreObject:
    return read_core_object(path.read_bytes(), name=path.name)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[2:]]
    run_folders(int(sys.argv[1]), given) if given else run_folders(int(sys.argv[1]))

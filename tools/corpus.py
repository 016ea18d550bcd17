#!/usr/bin/env python3
"""Load every object of a corpus and compare the outcome with the expected one.

usage: tools/corpus.py OBJDIR EXPECTED.tsv [OBJECT...]

EXPECTED.tsv has the columns object, hook and expected: full (every program loads), partial (some do), fail (none does)
or vacuous (there is none to load). Programs whose section says no type take it from the hook
or their name: xdp or tc.
Needs root; nothing is pinned, nothing is left loaded. Exit status 1 when an outcome is worse than expected.
"""

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import load
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.uapi.bpf import ProgType

OUTCOMES = ("full", "partial", "fail", "vacuous")
REASON_MAX = 300


@dataclass(frozen=True)
class NoPins:
    """Nothing is pinned, so that one object does not meet another's maps."""

    root: PurePosixPath

    def map_path(
        self, map_name: str, pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        """Return no path."""
        return None


def typed(obj: ObjectSpec, hook: str) -> ObjectSpec:
    """Return the object with a type for every program whose section says none: by the hook, else by its name."""
    types = {
        name: ProgType.XDP if "xdp" in hook or name.startswith("xdp") else ProgType.SCHED_CLS
        for name, program in obj.programs.items()
        if program.type is None
    }
    return select_programs(obj, types=types)


def outcome(path: Path, hook: str, bpf: Bpf) -> tuple[str, list[str]]:
    """Return what became of one object and the reasons of what failed."""
    try:
        obj = typed(open_object(path.read_bytes(), name=path.name), hook)
        prepared = prepare(obj, running_kernel(bpf, target_needs(obj)), partial=True)
        with load(prepared, bpf, NoPins(PurePosixPath("/")), partial=True) as loaded:
            reasons = [f"{name}: {error}" for name, error in loaded.failed.items()]
            if not loaded.programs and not loaded.failed:
                return "vacuous", []
            if loaded.failed:
                return ("partial" if loaded.programs else "fail"), reasons
            return "full", []
    except LoaderError as error:
        return "fail", [str(error)]


def main() -> int:
    """Load the objects and print a line for each surprise, then the table of counts."""
    directory, table, *only = sys.argv[1:]
    rows = list(csv.DictReader(Path(table).read_text().splitlines(), delimiter="\t"))
    counts: Counter[tuple[str, str]] = Counter()
    bpf = Bpf()
    for row in rows:
        if only and row["object"] not in only:
            continue
        path = Path(directory, row["object"])
        found, reasons = outcome(path, row["hook"], bpf)
        counts[row["expected"], found] += 1
        if found != row["expected"] or only:
            print(f"{row['object']} ({row['hook']}): expected {row['expected']}, found {found}")
            for reason in reasons:
                print(f"    {reason[:REASON_MAX]}")
    print("expected  " + "".join(f"{name:>9}" for name in OUTCOMES))
    for wanted in OUTCOMES:
        print(f"{wanted:<10}" + "".join(f"{counts[wanted, found]:>9}" for found in OUTCOMES))
    rank = {"full": 2, "partial": 1, "vacuous": 2, "fail": 0}
    return int(any(rank[found] < rank[wanted] for wanted, found in counts))


if __name__ == "__main__":
    sys.exit(main())

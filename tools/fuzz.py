"""`./dev fuzz MINUTES [TARGET...]`: the fuzz targets by turns, with progress; exit status 1 when something is found."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS
from tools.arguments import count
from tools.ending import end_with

DIRECTORY = Path(".cache/fuzz")
TURN_SECONDS = 60
SAY_SECONDS = 5.0


@dataclass
class Total:
    """What the turns of a target came to; seconds of wall time, peak in bytes."""

    runs: int = 0
    seconds: float = 0.0
    accepted: int = 0
    slowest: float = 0.0
    peak: int = 0
    findings: int = 0
    new: list[str] = field(default_factory=list)

    def add(self, counts: dict[str, Any]) -> None:
        """Add the counts of one turn."""
        self.runs += counts["runs"]
        self.seconds += counts["seconds"]
        self.accepted += counts["accepted"]
        self.slowest = max(self.slowest, counts["slowest"])
        self.peak = max(self.peak, counts["peak"])
        self.findings += counts["findings"]
        self.new += counts["new"]

    def line(self, name: str) -> str:
        """Return the counts in words."""
        rate = self.runs / self.seconds if self.seconds else 0.0
        return (
            f"{name:12} {self.runs:9,} runs {rate:7.0f}/s  accepted {self.accepted:8,}  slowest {self.slowest:5.2f} s"
            f"  peak {self.peak >> 20:4} MiB  findings {self.findings}"
        )


def turns(names: Sequence[str], seconds: float) -> Iterator[tuple[str, int]]:
    """Yield targets and for how many seconds each is to run, one after the other; all get the same time."""
    left = max(1, round(seconds / len(names)))
    while left > 0:
        turn = min(TURN_SECONDS, left)
        for name in names:
            yield name, turn
        left -= turn


def run_turn(name: str, directory: Path, limit: Sequence[str], total: Total) -> None:
    """Run the engine once, showing its progress; what stops it short of its limit is a finding too."""
    command = [sys.executable, "-m", "tests.fuzz.engine", name, str(directory), *limit]
    (directory / name).mkdir(parents=True, exist_ok=True)
    log = directory / name / "engine.log"
    counts: dict[str, Any] = {}
    said = time.monotonic()
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as engine:
        assert engine.stdout is not None
        for line in engine.stdout:
            counts = json.loads(line)
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                shown = Total()
                shown.add(counts)
                print(shown.line(name), flush=True)
    if counts:
        total.add(counts)
    if engine.returncode:
        total.findings += 1
        total.new.append(f"{name}: the engine ended with status {engine.returncode}: see {log} and {log.parent}")


def main(argv: Sequence[str]) -> int:
    """Fuzz and tell; 1: something was found."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="MINUTES [TARGET...]", help=f"how long in all; of {', '.join(TARGETS)}, else all"
    )
    parser.add_argument("--runs", type=count, help="as many inputs for each target, however long it takes")
    parser.add_argument("--dir", type=Path, default=DIRECTORY, help="corpus and findings (%(default)s)")
    args = parser.parse_args(argv)
    minutes, names = _minutes_and_targets(args.words)
    if unknown := sorted(set(names) - TARGETS.keys()):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if args.runs is None and minutes <= 0:
        parser.error("say for how many MINUTES, or --runs")
    totals = {name: Total() for name in names}
    if args.runs is None:
        for name, seconds in turns(names, minutes * 60):
            run_turn(name, args.dir, ["--seconds", str(seconds)], totals[name])
    else:
        for name in names:
            run_turn(name, args.dir, ["--runs", str(args.runs)], totals[name])
    return _tell(totals)


def _minutes_and_targets(words: Sequence[str]) -> tuple[float, Sequence[str]]:
    """Return the minutes, 0 where the first word is no number, and the targets, all where none is named."""
    try:
        return float(words[0]), words[1:] or list(TARGETS)
    except (IndexError, ValueError):
        return 0.0, words or list(TARGETS)


def _tell(totals: dict[str, Total]) -> int:
    print("in all:")
    for name, total in totals.items():
        print(total.line(name))
    new = [text for total in totals.values() for text in total.new]
    for text in new:
        print(f"FOUND {text}")
    return 1 if any(total.findings for total in totals.values()) else 0


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))

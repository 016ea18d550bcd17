"""Run one target under atheris (libFuzzer): `python -m tests.fuzz.engine TARGET DIR --seconds N | --runs N`.

Keeps on after a finding: the first input of each kind and place is kept in DIR/TARGET/findings. Each line on standard
output is a JSON object with the counts so far; the last one stands for the whole.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["xdploaderd"]):
    from tests.fuzz.judge import Verdict, judge, limit_memory
    from tests.fuzz.targets import TARGETS, seeds_of

ADDRESS_SPACE = 2 << 30
SAY_SECONDS = 0.5  # libFuzzer lets nothing be said at the end
HANG_SECONDS = 60  # of libFuzzer's own alarm, for what no Python signal handler ends
BLIND = 0.3  # of the mutants; the rest keep their shape


class _Tally:
    """Counts the inputs of a run, and keeps those that are findings."""

    def __init__(self, target: str, directory: Path, runs: int) -> None:
        self._run = TARGETS[target].run
        self._target = target
        self._findings = directory / target / "findings"
        self._runs = runs
        self._begin = self._said = time.monotonic()
        self.counts: dict[str, Any] = {"target": target, "runs": 0, "accepted": 0, "slowest": 0.0, "peak": 0, "new": []}
        self._seen = {path.stem for path in self._findings.glob("*.txt")}
        self.found = 0

    def take(self, raw: bytes) -> None:
        """Judge one input."""
        verdict = judge(self._run, raw)
        counts = self.counts
        counts["runs"] += 1
        counts["accepted"] += verdict.error is None
        counts["slowest"] = max(counts["slowest"], verdict.seconds)
        counts["peak"] = max(counts["peak"], verdict.peak)
        if not verdict:
            self._keep(raw, verdict)
        if time.monotonic() - self._said > SAY_SECONDS or counts["runs"] == self._runs:
            self.say()

    def say(self) -> None:
        """Print the counts so far."""
        self._said = time.monotonic()
        counts = {**self.counts, "findings": self.found, "seconds": self._said - self._begin}
        print(json.dumps(counts), flush=True)

    def _keep(self, raw: bytes, verdict: Verdict) -> None:
        self.found += 1
        kind = verdict.problem.partition(":")[0]
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{kind}-{verdict.place}".rstrip("-"))
        if name in self._seen:
            return
        self._seen.add(name)
        self._findings.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(raw).hexdigest()[:12]
        path = self._findings / f"{name}-{digest}"
        path.write_bytes(raw)
        (self._findings / f"{name}.txt").write_text(f"{verdict.problem}\nat {verdict.place}\ninput {path.name}\n")
        self.counts["new"].append(f"{verdict.problem[:200]} at {verdict.place}: {path}")
        self.say()


def _mutator(target: str) -> Any:
    shaped = TARGETS[target].mutate

    def mutate(raw: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < BLIND:
            return bytes(atheris.Mutate(raw, max_size))
        return shaped(bytes(raw), chance)[:max_size]

    return mutate


def _write_seeds(seeds: Mapping[str, bytes], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, raw in seeds.items():
        (directory / f"{name}-{hashlib.sha256(raw).hexdigest()[:12]}").write_bytes(raw)
    return directory


def main(argv: Sequence[str]) -> None:
    """Fuzz; libFuzzer ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--runs", type=int, default=-1)
    args = parser.parse_args(argv)
    limit_memory(ADDRESS_SPACE)
    tally = _Tally(args.target, args.directory, args.runs)
    corpus = args.directory / args.target / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = _write_seeds(seeds_of(args.target), args.directory / args.target / "seeds")
    options = {
        "max_total_time": args.seconds,
        "runs": args.runs,
        "max_len": TARGETS[args.target].max_bytes,
        "timeout": HANG_SECONDS,
        "rss_limit_mb": 0,
        "len_control": 0,
        "verbosity": 0,
        "print_final_stats": 0,
        "artifact_prefix": f"{args.directory / args.target}/",
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus), str(seeds)], tally.take, custom_mutator=_mutator(args.target))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Measure two ways of doing one thing by turns and print the ratio: medians of CPU time, both sides in one run."""

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence


def in_process(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds of each side, called by turns after one warm-up of both."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, act in enumerate((ours, theirs)):
            start = time.process_time()
            act()
            if number:
                times[side].append((time.process_time() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def whole_process(ours: Sequence[str], theirs: Sequence[str], *, rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds (user and system, children included) of two commands, run by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, argv in enumerate((ours, theirs)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[side].append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def show(name: str, ours: float, theirs: float, peer: str) -> None:
    """Print one pair: our milliseconds, the peer's, and the ratio."""
    print(f"{name:<44} {ours:9.3f} ms  {peer:<24} {theirs:9.3f} ms  ratio {ours / theirs:7.3f}", flush=True)

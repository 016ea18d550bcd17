"""Measure two ways of doing one thing by turns and print the ratio: medians of CPU time, both sides in one run."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence


def cpu(act: Callable[[], object]) -> float:
    """Return the CPU milliseconds of one call."""
    start = time.process_time()
    act()
    return (time.process_time() - start) * 1000


def in_process(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds of each side, called by turns after one warm-up of both."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, act in enumerate((ours, theirs)):
            milliseconds = cpu(act)
            if number:
                times[side].append(milliseconds)
    return statistics.median(times[0]), statistics.median(times[1])


def whole_process(ours: Sequence[str], theirs: Sequence[str], *, rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds (user and system, children included) of two commands, run by turns.

    Both run once before, and compiled modules are kept for the others, as an installed package has them.
    """
    times: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as compiled:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = compiled
        for number in range(rounds + 1):
            for side, argv in enumerate((ours, theirs)):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=env)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if number:
                    times[side].append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def peak_memory(code: str, argv: Sequence[str], *, options: Sequence[str] = ()) -> float:
    """Return the largest resident size, in MiB, of an interpreter that runs `code`; wait(2) would tell our own, too."""
    status = f"{code}\nimport sys; sys.stderr.write(open('/proc/self/status').read())"
    argv = [sys.executable, *options, "-c", status, *argv]
    done = subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = next(line for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def show(name: str, ours: float, theirs: float, peer: str, goal: float) -> None:
    """Print one pair: our milliseconds, the peer's, the ratio and the largest one wanted."""
    _print(name, f"{ours:9.3f} ms", peer, f"{theirs:9.3f} ms", f"ratio {ours / theirs:6.2f}", f"{goal:g}")


def show_spread(ratios: Sequence[float]) -> None:
    """Print how the ratios of single pairs lie: a busy machine disturbs one side of a pair at a time."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"  {len(ratios)} pairs: half of the ratios from {low:.2f} to {high:.2f}, median {middle:.2f},"
        f" all from {min(ratios):.2f} to {max(ratios):.2f}"
    )


def show_memory(name: str, ours: float, theirs: float, peer: str, goal: float) -> None:
    """Print one pair: our MiB, the peer's, and the most wanted."""
    _print(name, f"{ours:9.2f} MiB", peer, f"{theirs:9.2f} MiB", "", f"{goal:g} MiB")


def _print(name: str, ours: str, peer: str, theirs: str, ratio: str, goal: str) -> None:
    print(f"{name:<38} {ours:<13} {peer:<22} {theirs:<13} {ratio:<13} goal <= {goal}", flush=True)

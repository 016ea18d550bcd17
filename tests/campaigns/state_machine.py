"""G14: after each step of a random sequence, and once the daemon rests, the kernel is as the model says."""

import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import run_state_machine_as_test

from tests.campaigns.figures import Figures, in_words
from tests.campaigns.machine.bench import Bench
from tests.campaigns.machine.host import Eyes
from tests.campaigns.machine.rules import Machine
from tools.namespaces import mount, unmount

STEPS = 50
PART = 20  # sequences of one seed: what a run that was cut short loses
SHRINKING = 60.0  # seconds for the search for a shorter sequence that fails
COUNTED = ("sequences", "shorter", "steps", "starts", "refused", "faults", "killed", "rolled back")


def run(directory: Path, rounds: int, *, steps: int = STEPS, seed: int = 14, shrink: bool = True) -> Figures:
    """Run `rounds` sequences of `steps` steps in parts, whose seeds are `seed` and so on; tell of each part.

    AssertionError, after all of them, tells the shortest sequence that fails of each part with a difference.
    """
    total, differences, seeds = Counter[str](), [], range(seed, seed - -rounds // PART)
    for part, each in enumerate(seeds):
        began = time.monotonic()
        with _in_memory(directory), closing(Eyes()) as eyes:
            bench = Bench(directory, steps, eyes)
            differences += _differences(bench, min(PART, rounds - part * PART), steps, each, shrink=shrink)
        total.update(bench.tally)
        print(f"  seed {each}: {in_words(_figures(bench.tally))} ({time.monotonic() - began:.0f} s)", flush=True)
    assert not differences, "\n".join(differences)
    return {**_figures(total), "seeds": f"{seeds[0]} to {seeds[-1]}", "differences": 0}


def _differences(bench: Bench, rounds: int, steps: int, number: int, *, shrink: bool) -> list[str]:
    machine = hypothesis.seed(number)(type("Sequence", (Machine,), {"bench": bench}))
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    given = settings(
        max_examples=rounds,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        with mock.patch.object(engine, "MAX_SHRINKING_SECONDS", SHRINKING):
            run_state_machine_as_test(machine, settings=given)
    except (AssertionError, Flaky):
        text = f"seed {number}, sequence {bench.tally['sequences'] + 1}:\n{traceback.format_exc()}"
        print(text, flush=True)
        return [text]
    return []


def _figures(tally: Counter[str]) -> Figures:
    return {name: tally[name] for name in COUNTED}


@contextmanager
def _in_memory(directory: Path) -> Iterator[None]:
    """Have nothing to wait for in fsync(2): no step of G14 takes the power away."""
    mount("tmpfs", str(directory), "mode=0700")
    try:
        yield
    finally:
        unmount(str(directory))

"""G14: after each step of a random sequence, and once the daemon rests, the kernel is as the model says."""

from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.campaigns.figures import Figures
from tests.campaigns.machine.bench import Bench
from tests.campaigns.machine.rules import Machine

STEPS = 50


def run(directory: Path, rounds: int, *, steps: int = STEPS, number: int = 14, shrink: bool = True) -> Figures:
    """Run `rounds` sequences of `steps` steps from the seed `number`; AssertionError tells the shortest that fails."""
    bench = Bench(directory)
    machine = seed(number)(type("Sequence", (Machine,), {"bench": bench}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=rounds,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
            print_blob=False,
            verbosity=Verbosity.normal,
        ),
    )
    tally = bench.tally
    return {"sequences": tally.sequences, "steps": tally.steps, "starts": tally.starts, "refused": tally.refused,
            "seed": number, "differences": 0}  # fmt: skip

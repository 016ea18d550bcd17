"""G3, of second order: a call fails, and one of those after it too, which take it back or are the next try.

Then not all can be as before. No hook is without a program that has one before and after the operation; all comes to
order by itself, or with the next try; and nothing is left.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns import errnos
from tests.campaigns.errno_operations import Operation
from tests.campaigns.errno_scene import Scene
from tests.campaigns.errnos import Case, Shapes
from tests.campaigns.figures import Figures
from tests.campaigns.sample import sample
from tests.campaigns.seams import Seams
from xdploaderd.errors import LoaderError

IN_ORDER = 5.0  # seconds, of a daemon that runs on


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cases of one operation, the second one among the calls that follow the first."""

    first: Case
    second: Case

    def __str__(self) -> str:
        return f"{self.first}, then {str(self.second).partition(': ')[2]}"


def run(directory: Path, rounds: int, seed: int = 1, names: Sequence[str] = tuple(errnos.ALL)) -> Figures:
    """Try `rounds` pairs: first calls evenly spread, second ones by chance; AssertionError with all that went wrong."""
    chance, tally, alone = random.Random(seed), errnos.Tally(), 0
    with errnos.scene_in(directory) as (scene, seams):
        shapes, cases = errnos.survey(scene, seams, names)
        for case in sample(cases, rounds, seed):
            what: Case | Pair = case
            try:
                pair = _paired(scene, seams, case, shapes[case.operation], chance)
                if pair is None:
                    alone += 1
                    continue
                what = pair
                _try(scene, seams, pair, shapes[case.operation], tally)
            except (AssertionError, LoaderError) as error:
                tally.failed(f"{what}: {error}")
                scene.reset()
        scene.ready()
    assert not tally.failures, "\n".join([f"{len(tally.failures)} of {rounds}", *tally.failures])
    return {"first calls with none after them": alone, **tally.figures(len(cases))}


def _paired(scene: Scene, seams: Seams, case: Case, shapes: Shapes, chance: random.Random) -> Pair | None:
    """Let the first call fail, and choose one of those that came after it; None where none did."""
    errnos.begun(scene, errnos.ALL[case.operation], shapes)
    with seams.watched({case.call: case.code}):
        errnos.failure_of(errnos.ALL[case.operation], scene)
    after = seams.calls[seams.calls.index(case.call) + 1 :] if seams.failed else []
    if not after:
        return None
    call = chance.choice(after)
    return Pair(case, Case(case.operation, call, chance.choice(errnos.codes_of(call, errnos.ALL[case.operation]))))


def _try(scene: Scene, seams: Seams, pair: Pair, shapes: Shapes, tally: errnos.Tally) -> None:
    operation = errnos.ALL[pair.first.operation]
    before = errnos.begun(scene, operation, shapes)
    both = {case.call: case.code for case in (pair.first, pair.second)}
    with errnos.tracebacks() as faults, seams.watched(both):
        error = errnos.failure_of(operation, scene)
    assert not faults.tracebacks, faults.tracebacks[0]
    if len(seams.failed) < 2:
        tally.missed += 1
    elif error is None:
        tally.withstood += 1
    else:
        tally.refused += 1
    kept = {what for what in before.shape & shapes.after if " on " in what}
    lost = kept - scene.world().shape
    assert not lost, f"'{error}', and missing: {sorted(lost)}"
    _come_to_order(scene, operation, shapes, error)


def _come_to_order(scene: Scene, operation: Operation, shapes: Shapes, error: LoaderError | None) -> None:
    """Let the daemon run on, after another try where it told an error."""
    if error is not None:
        operation.act(scene)
    deadline = time.monotonic() + IN_ORDER
    while scene.world().shape != shapes.after:
        told = f"'{error}', tried again" if error else "no error"
        assert time.monotonic() < deadline, f"{told}, and {errnos.difference(scene, shapes.after)}"
        scene.daemon.ask(asyncio.sleep(errnos.POLL))

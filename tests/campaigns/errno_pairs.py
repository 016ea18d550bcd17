"""G3, of second order: a call fails, and one of those after it too, which take it back or are the next try.

Then not all can be as before. No hook is without a program that has one before and after the operation; all comes to
order by itself, or with the next try; and nothing is left.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns import errnos
from tests.campaigns.errno_cases import ALL, Case, codes_of
from tests.campaigns.errno_judgement import POLL, Outcome, Shapes, begun, difference
from tests.campaigns.errno_operations import Operation
from tests.campaigns.errno_scene import Scene
from tests.campaigns.figures import Figures
from tests.campaigns.seams import Seams
from xdploaderd.errors import LoaderError

IN_ORDER = 5.0  # seconds, of a daemon that runs on


def run(directory: Path, rounds: int, seed: int = 1, names: Sequence[str] = tuple(ALL)) -> Figures:
    """Attempt `rounds` pairs: first calls evenly spread, second ones by chance; AssertionError with all that failed."""
    chance = random.Random(seed)

    def attempt(scene: Scene, seams: Seams, first: Case, shapes: Shapes) -> Outcome:
        second = _second(scene, seams, first, shapes, chance)
        if second is None:
            return Outcome.MISSED
        try:
            return _attempt_two(scene, seams, (first, second), shapes)
        except (AssertionError, LoaderError) as error:
            raise AssertionError(f"then {second.failure}: {error}") from error

    return errnos.run(directory, rounds, seed, names, attempt)


def _second(scene: Scene, seams: Seams, first: Case, shapes: Shapes, chance: random.Random) -> Case | None:
    """Let the first call fail, and choose one of those that came after it; None where none did."""
    operation = ALL[first.operation]
    begun(scene, operation, shapes)
    errnos.failing(scene, seams, first)
    after = seams.calls[seams.calls.index(first.call) + 1 :] if seams.failed else []
    if not after:
        return None
    call = chance.choice(after)
    return Case(first.operation, call, chance.choice(codes_of(call, operation)))


def _attempt_two(scene: Scene, seams: Seams, pair: tuple[Case, Case], shapes: Shapes) -> Outcome:
    operation = ALL[pair[0].operation]
    before = begun(scene, operation, shapes)
    error = errnos.failing(scene, seams, *pair)
    came = len(seams.failed) == len(pair)
    lost = {what for what in before.shape & shapes.after if " on " in what} - scene.world().shape
    assert not lost, f"'{error}', and missing: {sorted(lost)}"
    _come_to_order(scene, operation, shapes, error)
    return Outcome.of(error) if came else Outcome.MISSED


def _come_to_order(scene: Scene, operation: Operation, shapes: Shapes, error: LoaderError | None) -> None:
    """Let the daemon run on, after another try where it told an error."""
    if error is not None:
        operation.act(scene)
    deadline = time.monotonic() + IN_ORDER
    while scene.world().shape != shapes.after:
        told = f"'{error}', tried again" if error else "no error"
        assert time.monotonic() < deadline, f"{told}, and {difference(scene, shapes.after)}"
        scene.daemon.ask(asyncio.sleep(POLL))

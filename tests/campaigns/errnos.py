"""G3: one call fails, with each errno that it may have; a typed error, or all as if nothing had been."""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar
from unittest import mock

from tests.campaigns.errno_cases import ALL, Case, codes_of
from tests.campaigns.errno_judgement import (
    Met,
    Outcome,
    Shapes,
    begun,
    failure_of,
    handled_by,
    judge,
    no_tracebacks,
    recorded,
)
from tests.campaigns.errno_operations import OPERATIONS
from tests.campaigns.errno_scene import INTERFACES, LOOK_SECONDS, Scene
from tests.campaigns.figures import Figures
from tests.campaigns.sample import sample
from tests.campaigns.seams import Seams
from tests.support.daemon import daemon_in
from tests.support.in_process import Outside, in_process
from tests.support.netns import veth_pair
from xdploaderd.daemon.apply import trial
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.service import unconfirmed
from xdploaderd.errors import LoaderError

AnyCase = TypeVar("AnyCase")
Attempt = Callable[[Scene, Seams, Case, Shapes], Outcome]


def attempt_one(scene: Scene, seams: Seams, case: Case, shapes: Shapes) -> Outcome:
    """Let the call of a case fail; AssertionError with what went wrong."""
    before = begun(scene, ALL[case.operation], shapes)
    error = failing(scene, seams, case)
    if not seams.failed:
        return Outcome.MISSED
    return judge(scene, ALL[case.operation], Met(before, shapes, error))


def failing(scene: Scene, seams: Seams, *cases: Case) -> LoaderError | None:
    """Carry out the operation of these cases while their calls fail; return its typed error."""
    with no_tracebacks(), seams.watched({case.call: case.code for case in cases}):
        return failure_of(ALL[cases[0].operation], scene)


def run(
    directory: Path,
    rounds: int,
    seed: int = 1,
    names: Sequence[str] = tuple(OPERATIONS),
    attempt: Attempt = attempt_one,
) -> Figures:
    """Attempt every case, or `rounds` of them evenly spread; AssertionError with all that went wrong."""
    with scene_in(directory) as (scene, seams):
        shapes, cases = survey(scene, names, lambda name: _recorded(scene, seams, name))
        points = len({(case.operation, case.call) for case in cases})
        chosen = sample(cases, rounds, seed)
        done = tried(scene, chosen, rounds, lambda case: attempt(scene, seams, case, shapes[case.operation]))
        return {"of": len(cases), "calls": points, **done}


def survey(
    scene: Scene, names: Sequence[str], record: Callable[[str], tuple[Shapes, Sequence[AnyCase]]]
) -> tuple[Mapping[str, Shapes], Sequence[AnyCase]]:
    """Carry every operation out; return what each does, and its cases."""
    shapes: dict[str, Shapes] = {}
    cases: list[AnyCase] = []
    for name in names:  # what stays of each, such as pinned maps, is there from here on
        ALL[name].before(scene)
        ALL[name].act(scene)
    for name in names:
        shapes[name], found = record(name)
        cases += found
    return shapes, cases


def tried(scene: Scene, cases: Iterable[AnyCase], most: int, attempt: Callable[[AnyCase], Outcome]) -> Figures:
    """Attempt cases until the calls of `most` came; AssertionError with all that went wrong."""
    outcomes: Counter[Outcome] = Counter()
    failures: list[str] = []
    for case in cases:
        if len(failures) + outcomes.total() - outcomes[Outcome.MISSED] >= most:
            break
        try:
            outcomes[attempt(case)] += 1
        except (AssertionError, LoaderError) as error:
            failures.append(f"{case}: {error}")
            sys.stderr.write(f"{failures[-1]}\n")  # at once: a run may be cut short
            scene.reset()
    scene.ready()
    came = outcomes.total() - outcomes[Outcome.MISSED]
    assert not failures, "\n".join([f"{len(failures)} of {len(failures) + came}", *failures])
    return {"cases": came, **{outcome.value: outcomes[outcome] for outcome in Outcome}, "left": 0}


def _recorded(scene: Scene, seams: Seams, name: str) -> tuple[Shapes, Sequence[Case]]:
    shapes = recorded(scene, ALL[name], seams.watched())
    return shapes, [Case(name, call, code) for call in seams.calls for code in codes_of(call, ALL[name])]


@contextmanager
def scene_in(directory: Path) -> Iterator[tuple[Scene, Seams]]:
    """A daemon in this process, with all usual entries in force; afterwards nothing of it is left."""
    with ExitStack() as stack:
        for number, name in enumerate(INTERFACES):
            stack.enter_context(veth_pair(name, f"peer{number}"))
        for module in (trial, unconfirmed):
            stack.enter_context(mock.patch.object(module, "LOOK_SECONDS", LOOK_SECONDS))
        files = stack.enter_context(daemon_in(directory))
        scene, seams = Scene(files), Seams()
        stack.enter_context(seams.installed())
        stack.enter_context(handled_by(logging.NullHandler()))
        options = parse_options(files.command()[3:])
        scene.daemon = stack.enter_context(in_process(options, Outside(open_rtnl=seams.rtnl, boot=scene.clock)))
        scene.ready()
        yield scene, seams
        files.configure()
        scene.daemon.ask(scene.daemon.service.reload())

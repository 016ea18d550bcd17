"""G2: a daemon that is killed at any system call of an operation; the next one makes all whole, and nothing is left."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.figures import Figures, spread
from tests.campaigns.migrations import MIGRATIONS
from tests.campaigns.operations import OPERATIONS, Operation, Scene
from tests.campaigns.process import cpu
from tests.campaigns.request_trials import REQUESTS
from tests.campaigns.sample import sample
from tests.campaigns.shapes import Shape, shape_of
from tests.campaigns.trials import TRIALS
from tests.support.daemon import PATIENCE, POLL, Spawn, daemon_in, wait_for
from tests.support.netns import veth_pair
from tests.support.nursery import nursery
from tests.support.watched import Watch, watching
from xdploaderd.daemon.loop.report import AS_WANTED

ALL: Mapping[str, Operation] = {**OPERATIONS, **TRIALS, **REQUESTS, **MIGRATIONS}
CHANGES = ("reload", "attach", "detach", "runtime")  # killed at random moments
CONVERGED = PATIENCE  # seconds from the start of the next process; the goal of 5 is read off the figures
RANDOM_SECONDS = 0.2  # in which each of the changes has come to its end
QUIET = 0.5  # seconds: the operation has ended and the call did not come
STABLE, STABLE_SECONDS = 3, 0.1  # so many looks at that distance that show the same
WHOLE_EVERY, FEW = 16, 32  # of so many restarts one is of a process of its own, and timed; of so few kills each


@dataclass(slots=True)
class Tally:
    """What the kills of a campaign came to."""

    kills: int = 0
    missed: int = 0  # calls that did not come this time
    took: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of the daemon in that time, all its threads

    def figures(self, points: int) -> Figures:
        """Return it in words."""
        return {"calls": points, "kills": self.kills, "calls that did not come": self.missed, "left": 0,
                "without an old program": 0, "restarts timed": len(self.took),
                **spread("in order after", self.took), **spread("of CPU", self.cpu)}  # fmt: skip


@dataclass(slots=True)
class Stage:
    """A scene whose daemon is watched, and forked from one that has imported all."""

    scene: Scene
    watch: Watch
    whole: Spawn
    timed_every: int
    restarts: int = 0

    def compile(self) -> None:
        """Let there be the bytecode for start_whole()."""
        self.scene.daemon.end()
        self.start_whole()
        self.scene.daemon.end()
        self.scene.daemon.start()

    def start_whole(self) -> None:
        """Start a daemon as a process of its own, which has its bytecode, as one that is installed."""
        daemon = self.scene.daemon
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(daemon.directory / "bytecode")}
        forked = daemon.spawn
        daemon.spawn = lambda command, environ, errors: self.whole(command, {**environ, **compiled}, errors)
        daemon.start()
        daemon.spawn = forked


def run(
    directory: Path, rounds: int, seed: int = 1, *, name: str = "reload", timed_every: int | None = None
) -> Figures:
    """Kill at every call of an operation, at most `rounds` of them evenly spread; AssertionError where it does harm.

    What the next daemon finds is brought to an end in one way for every other kill, and in another one for the same
    kill with the next seed.
    """
    operation = ALL[name]
    with _stage(directory, _timed_every(rounds) if timed_every is None else timed_every) as stage:
        shapes, calls = _recorded(stage, operation)
        tally = Tally()
        for place, number in enumerate(sample(range(1, calls + 1), rounds, seed)):
            _kill_at(stage, operation, number, tally)
            try:
                _check(stage, operation, shapes, tally, place + seed)
            except AssertionError as error:
                raise AssertionError(f"{name}, killed at {stage.watch.killed}: {error}") from error
        return tally.figures(calls)


def run_random(directory: Path, rounds: int, seed: int = 1, *, timed_every: int | None = None) -> Figures:
    """Kill a daemon at `rounds` random moments of a change."""
    chance, tally = random.Random(seed), Tally()
    with _stage(directory, _timed_every(rounds) if timed_every is None else timed_every) as stage:
        shapes = {name: _recorded(stage, ALL[name])[0] for name in CHANGES}
        for number in range(rounds):
            name = chance.choice(CHANGES)
            _kill_after(stage.scene, ALL[name], chance.uniform(0, RANDOM_SECONDS))
            tally.kills += 1
            try:
                _check(stage, ALL[name], shapes[name], tally, number)
            except AssertionError as error:
                raise AssertionError(f"{name}, random kill {number} of seed {seed}: {error}") from error
        return tally.figures(rounds)


def _timed_every(rounds: int) -> int:
    return 1 if rounds <= FEW else WHOLE_EVERY


@contextmanager
def _stage(directory: Path, timed_every: int) -> Iterator[Stage]:
    with (
        veth_pair() as first,
        veth_pair("veth1", "peer1") as second,
        watching(directory) as watch,
        daemon_in(directory) as daemon,
        nursery(watch.path) as forking,
    ):
        daemon.orphan_grace = 0.0
        whole, daemon.spawn = daemon.spawn, forking.spawn
        scene = Scene(daemon, directory, {pair.name: pair.namespace for pair in (first, second)})
        stage = Stage(scene, watch, whole, timed_every)
        if timed_every:
            stage.compile()
        yield stage
        watch.end()
        _emptied(scene)


def _emptied(scene: Scene) -> None:
    """Let the daemon take off all that is its own."""
    daemon = scene.daemon
    daemon.configure()
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    if daemon.call("Status")["status"]["confirm_seconds"]:
        daemon.call("Confirm")
    daemon.call("Reload")
    for name in daemon.names():
        daemon.call("Detach", name=name)
    daemon.end()


def _recorded(stage: Stage, operation: Operation) -> tuple[frozenset[Shape], int]:
    """Carry the operation out for each end and once more; return all that may come of it, and the number of calls."""
    scene, shapes = stage.scene, set()
    for end in operation.ends:
        operation.before(scene)
        if operation.may_do_nothing:
            shapes.add(_settled_shape(scene))
        operation.asked(scene)
        _wait_for_order(scene, operation)
        end(scene)
        shapes.add(_settled_shape(scene))
    operation.before(scene)
    if not operation.starts:
        scene.kept = scene.programs()
    stage.watch.begin()
    operation.asked(scene)
    time.sleep(QUIET)
    calls = len(stage.watch.end())
    _wait_for_order(scene, operation)
    operation.dead(scene)
    operation.settle(scene, 0)
    return frozenset(shapes), calls


def _settled_shape(scene: Scene) -> Shape:
    """Return how all stands once that does not change any more: the kernel frees programs late."""
    shapes = [shape_of(scene)]
    while len(shapes) < STABLE or len(set(shapes[-STABLE:])) > 1:
        time.sleep(STABLE_SECONDS)
        shapes.append(shape_of(scene))
    return shapes[-1]


def _kill_at(stage: Stage, operation: Operation, number: int, tally: Tally) -> None:
    """Carry the operation out until that call, or kill the daemon after it where the call did not come."""
    scene = stage.scene
    operation.before(scene)
    if not operation.starts:
        scene.kept = scene.programs()
    stage.watch.begin(number)
    operation.asked(scene)
    assert scene.daemon.process is not None
    try:
        scene.daemon.process.wait(QUIET)
        scene.daemon.process = None
        tally.kills += 1
    except subprocess.TimeoutExpired:
        tally.missed += 1
        stage.watch.end()
        scene.daemon.end(signal.SIGKILL)
    stage.watch.end()


def _kill_after(scene: Scene, operation: Operation, seconds: float) -> None:
    """Kill the daemon so many seconds after it was asked."""
    operation.before(scene)
    scene.kept = scene.programs()
    asking = threading.Thread(target=operation.asked, args=(scene,))
    asking.start()
    time.sleep(seconds)
    scene.daemon.end(signal.SIGKILL)
    asking.join()


def _check(stage: Stage, operation: Operation, shapes: frozenset[Shape], tally: Tally, number: int) -> None:
    """Compare what runs with what ran, start the next daemon, and compare all with what may come of it."""
    scene = stage.scene
    daemon = scene.daemon
    _assert_kept(scene, operation)
    operation.dead(scene)
    stage.restarts += 1
    timed = stage.timed_every and stage.restarts % stage.timed_every == 0
    began = time.monotonic()
    (stage.start_whole if timed else daemon.start)()
    _wait_for_order(scene, operation)
    took = time.monotonic() - began
    assert took <= CONVERGED, f"in order only after {took:.1f} s"
    if timed:
        tally.took.append(took)
        tally.cpu.append(cpu(daemon.pid))
        daemon.end()
        daemon.start()
    operation.settle(scene, number)
    _assert_kept(scene, operation)
    _wait_for_shape(scene, shapes)
    assert "Traceback" not in daemon.log(), daemon.log()


def _wait_for_shape(scene: Scene, shapes: frozenset[Shape]) -> None:
    deadline = time.monotonic() + CONVERGED
    while (found := shape_of(scene)) not in shapes:
        assert time.monotonic() < deadline, f"{found} is none of {shapes}"
        time.sleep(POLL)


def _wait_for_order(scene: Scene, operation: Operation) -> None:
    """Wait until all is as wanted, but for what cannot be."""

    def in_order() -> bool:
        found = scene.daemon.call("Status")["status"]["attachments"]
        unlike = {a["name"] for a in found if a["state"] not in AS_WANTED}
        if operation.again and unlike == {"extra"} and scene.daemon.attachment("extra")["state"] == "foreign":
            return operation.asked(scene)
        return unlike <= set(operation.failing)

    wait_for(in_order, f"all as wanted, but {operation.failing}: {scene.daemon.log()[-2000:]}")


def _assert_kept(scene: Scene, operation: Operation) -> None:
    now = scene.programs()
    lost = [place for place in operation.kept if not now[place]]
    assert not lost, f"no program for {lost}"
    assert all(now[place] == scene.kept[place] for place in operation.unchanged)

"""G2: a daemon that is killed at any system call of an operation; the next one makes all whole, and nothing is left."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.figures import Figures, spread
from tests.campaigns.operations import OPERATIONS, Operation, Scene, reload_of_others
from tests.campaigns.tracing import TRACED, Point, kill_at, points_of, record, threads, traced
from tests.support.daemon import BPFFS, PATIENCE, ROOT, Daemon, daemon_in, wait_for
from tests.support.netns import veth_pair
from tests.support.sandbox import pin_tree

CONVERGED = PATIENCE  # seconds from the start of the next process; the goal of 5 is read off the figures
RANDOM_SECONDS = 0.3  # in which a reload of two objects has come to its end
QUIET = 1.0  # seconds: the operation has ended and the call did not come

Shape = tuple[tuple[str, ...], tuple[tuple[str, int], ...], tuple[bool, bool, bool]]


@dataclass(slots=True)
class Tally:
    """What the kills of a campaign came to."""

    kills: int = 0
    missed: list[Point] = field(default_factory=list)  # calls that did not come this time
    took: list[float] = field(default_factory=list)

    def figures(self, points: int) -> Figures:
        """Return it in words."""
        return {"points": points, "kills": self.kills, "calls that did not come": len(self.missed), "left": 0,
                "without an old program": 0, **spread("in order after", self.took)}  # fmt: skip


def run(directory: Path, rounds: int, name: str = "reload") -> Figures:
    """Kill at every call of an operation, at most `rounds` of them evenly spread; AssertionError where it does harm."""
    operation = OPERATIONS[name]
    with _scene(directory) as scene:
        shapes, points = _recorded(scene, operation, directory / "trace")
        chosen = spread_evenly(points, rounds)
        tally = Tally()
        for point in chosen:
            _kill_at(scene, operation, point, tally)
            try:
                _check(scene, operation, shapes, tally)
            except AssertionError as error:
                raise AssertionError(f"{name}, killed at {point}: {error}") from error
        return tally.figures(len(points))


@contextmanager
def _scene(directory: Path) -> Iterator[Scene]:
    with veth_pair(), veth_pair("veth1", "peer1"), daemon_in(directory) as daemon:
        scene = Scene(daemon, directory)
        try:
            yield scene
        finally:
            _emptied(daemon)


def _emptied(daemon: Daemon) -> None:
    """Let the daemon take off all that is its own."""
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    daemon.configure()
    daemon.call("Reload")
    for name in daemon.names():
        daemon.call("Detach", name=name)


def spread_evenly(points: Sequence[Point], most: int) -> Sequence[Point]:
    """Return at most `most` of the points, the first and the last among them."""
    if len(points) <= most:
        return points
    step = (len(points) - 1) / max(1, most - 1)
    return [points[round(number * step)] for number in range(most)]


def _recorded(scene: Scene, operation: Operation, trace: Path) -> tuple[tuple[Shape, Shape], list[Point]]:
    """Carry the operation out twice, the second time traced; return how all is before and after it, and its calls."""
    operation.before(scene)
    assert operation.asked(scene), scene.daemon.log()
    operation.before(scene)
    before, known = shape(scene), threads(scene.daemon.pid)
    with traced(record(scene.daemon.pid, trace)):
        assert operation.asked(scene), scene.daemon.log()
    return (before, shape(scene)), points_of(trace, known)


def _kill_at(scene: Scene, operation: Operation, point: Point, tally: Tally) -> None:
    """Carry the operation out until that call, or kill the daemon after it where the call did not come."""
    daemon = scene.daemon
    operation.before(scene)
    operation.asked(scene)
    operation.before(scene)
    scene.kept = scene.programs()
    assert daemon.process is not None
    with traced(kill_at(daemon.pid, point)):
        operation.asked(scene)
        try:
            daemon.process.wait(QUIET)
            daemon.process = None
            tally.kills += 1
        except subprocess.TimeoutExpired:
            tally.missed.append(point)
            daemon.end(signal.SIGKILL)


def _check(scene: Scene, operation: Operation, shapes: tuple[Shape, Shape], tally: Tally) -> None:
    """Compare what runs with what ran, start the next daemon, and compare all with before and after."""
    daemon = scene.daemon
    _assert_kept(scene, operation)
    began = time.monotonic()
    daemon.start()
    wait_for(lambda: not daemon.call("Status")["status"]["degraded"] or operation.again, "all as wanted")
    if daemon.call("Status")["status"]["degraded"]:
        assert daemon.attachment("extra")["state"] == "foreign"
        assert operation.asked(scene), daemon.log()
    tally.took.append(time.monotonic() - began)
    assert tally.took[-1] <= CONVERGED, f"in order only after {tally.took[-1]:.1f} s"
    _assert_kept(scene, operation)
    wait_for(lambda: shape(scene) in shapes, f"{shape(scene)} is neither of {shapes}")
    assert "Traceback" not in daemon.log(), daemon.log()


def run_restart(directory: Path, rounds: int) -> Figures:
    """Kill a daemon that starts, and finds other objects than it left, at every call, `rounds` of them at most."""
    operation = Operation(reload_of_others, Scene.reload, ("edge", "tail"))
    with _scene(directory) as scene:
        _ended_before(scene, operation)
        trace = directory / "trace"
        scene.daemon.start(prefix=("strace", "-f", "-o", str(trace), "-e", f"trace={TRACED}"))
        after = shape(scene)
        points = list(dict.fromkeys(Point(0, point.call, point.number) for point in points_of(trace)))
        chosen, tally = spread_evenly(points, rounds), Tally()
        for point in chosen:
            _ended_before(scene, operation)
            _killed_at_start(scene, point, tally)
            try:
                _check(scene, operation, (after, after), tally)
            except AssertionError as error:
                raise AssertionError(f"restart, killed at {point}: {error}") from error
        return tally.figures(len(points))


def run_random(directory: Path, rounds: int, seed: int = 1) -> Figures:
    """Kill a daemon at `rounds` random moments of a reload with other objects."""
    operation, chance, tally = OPERATIONS["reload"], random.Random(seed), Tally()
    with _scene(directory) as scene:
        operation.before(scene)
        shapes = shape(scene), shape(scene)
        for number in range(rounds):
            operation.before(scene)
            os.kill(scene.daemon.pid, signal.SIGHUP)
            time.sleep(chance.uniform(0, RANDOM_SECONDS))
            scene.daemon.end(signal.SIGKILL)
            tally.kills += 1
            try:
                _check(scene, operation, shapes, tally)
            except AssertionError as error:
                raise AssertionError(f"random kill {number} of seed {seed}: {error}") from error
        return tally.figures(rounds)


def _ended_before(scene: Scene, operation: Operation) -> None:
    operation.before(scene)
    scene.kept = scene.programs()
    scene.daemon.end()


def _killed_at_start(scene: Scene, point: Point, tally: Tally) -> None:
    inject = f"inject={point.call}:signal=KILL:when={point.number}"
    words = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={point.call}", "-e", inject]
    environ = {**os.environ, "NOTIFY_SOCKET": str(scene.daemon.directory / "notify")}  # what it tells are calls too
    command = [*words, *scene.daemon.command()]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL) as started:
        try:
            started.wait(CONVERGED)
            tally.kills += 1
        except subprocess.TimeoutExpired:
            tally.missed.append(point)
            os.kill(int((scene.daemon.state / "lock").read_text()), signal.SIGKILL)


def _assert_kept(scene: Scene, operation: Operation) -> None:
    now = scene.programs()
    lost = [place for place in operation.kept if not now[place]]
    assert not lost, f"no program for {lost}"
    if "veth1" in operation.kept:
        assert now["veth1"] == scene.kept["veth1"]


def shape(scene: Scene) -> Shape:
    """Return what there is: pins (ids left out), programs and maps of ours, hooks."""
    pins = (str(Path(pin).relative_to(BPFFS)) for pin in pin_tree() if not pin.endswith(".debug"))
    programs = scene.programs()
    hooks = bool(programs["edge"]), bool(programs["tail"]), bool(programs["veth1"])
    return (
        tuple(sorted(re.sub(r"arrays_\d+", "arrays_ID", p) for p in pins)),
        tuple(scene.marked.alive().items()),
        hooks,
    )

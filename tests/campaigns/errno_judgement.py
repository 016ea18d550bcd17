"""How one case of G3 is judged: a typed error and all as before, or all as if nothing had failed."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from tests.campaigns.errno_operations import Operation
from tests.campaigns.errno_scene import Scene
from tests.campaigns.errno_world import Shape, World
from tests.support.in_process import Faults
from xdploaderd.errors import LoaderError

POLL = 0.01  # seconds
SETTLED = 2.0  # seconds that the kernel may take to free what is closed


class Outcome(StrEnum):
    """What a case came to, in the words of the figures."""

    REFUSED = "typed errors"
    WITHSTOOD = "carried out all the same"
    MISSED = "calls that did not come"

    @classmethod
    def of(cls, error: LoaderError | None) -> "Outcome":
        """Return that of a case whose call came."""
        return cls.REFUSED if error else cls.WITHSTOOD


@dataclass(frozen=True, slots=True)
class Shapes:
    """How all is before and after an operation, and which hooks have another program then."""

    before: Shape
    after: Shape
    changed: frozenset[str]

    @classmethod
    def of(cls, before: World, after: World) -> "Shapes":
        """Return those of an operation that was carried out."""
        return cls(before.shape, after.shape, before.changed(after))

    def is_done(self, before: World, now: World) -> bool:
        """Return whether the operation was carried out meanwhile."""
        return now.shape == self.after and before.changed(now) == self.changed


@dataclass(frozen=True, slots=True)
class Met:
    """How all was before a case, what the operation does, and the error, if there was one.

    `runs_on`: the daemon does while this is looked at, and what is still wanted comes by its own next try.
    """

    before: World
    shapes: Shapes
    error: LoaderError | None
    runs_on: bool = False

    def is_done(self, now: World) -> bool:
        """Return whether the operation was carried out."""
        return self.shapes.is_done(self.before, now)

    def is_fine(self, now: World) -> bool:
        """Return whether an error left all as it was."""
        return now == self.before or (self.runs_on and self.is_done(now))


def recorded(scene: Scene, operation: Operation, watched: AbstractContextManager[None]) -> Shapes:
    """Carry the operation out within `watched`; return how all is before and after it."""
    operation.before(scene)
    before = _settled(scene)
    with watched:
        operation.act(scene)
    return Shapes.of(before, _settled(scene))


def _settled(scene: Scene) -> World:
    """Return how all is, once the kernel has freed what was closed."""
    time.sleep(0.1)
    return scene.world()


def begun(scene: Scene, operation: Operation, shapes: Shapes) -> World:
    """Bring the scene to where the operation begins, and return how all is when what was closed is freed."""
    operation.before(scene)
    wanted = shapes.before
    return _wait(scene, lambda now: now.shape == wanted, lambda: f"to begin with, {difference(scene, wanted)}")


def failure_of(operation: Operation, scene: Scene) -> LoaderError | None:
    """Carry the operation out and return the typed error that it ended with; any other is a finding."""
    try:
        operation.act(scene)
    except LoaderError as error:
        return error
    except Exception:  # noqa: BLE001 - whatever else leaves is the finding
        raise AssertionError(traceback.format_exc()) from None
    return None


def judge(scene: Scene, operation: Operation, met: Met) -> Outcome:
    """Raise AssertionError unless a fault was withstood, or was told and changed nothing, and the next try succeeds."""
    error, after = met.error, met.shapes.after
    if error is None:
        _wait(scene, met.is_done, lambda: f"no error, and {difference(scene, after)}")
        return Outcome.WITHSTOOD
    if not operation.in_part:
        _wait(scene, met.is_fine, lambda: f"'{error}', and {difference(scene, met.before.shape)}")
    assert "'" in str(error) or str(error).count(": ") > 1, f"'{error}' names nothing"
    operation.act(scene)
    _wait(scene, met.is_done, lambda: f"tried again, {difference(scene, after)}")
    return Outcome.REFUSED


@contextmanager
def no_tracebacks() -> Iterator[None]:
    """Raise AssertionError with the first traceback that is logged meanwhile."""
    faults = Faults()
    with handled_by(faults):
        yield
    assert not faults.tracebacks, faults.tracebacks[0]


@contextmanager
def handled_by(handler: logging.Handler) -> Iterator[None]:
    """Hand it the log of the daemon."""
    logging.getLogger("xdploaderd").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("xdploaderd").removeHandler(handler)


def _wait(scene: Scene, holds: Callable[[World], bool], what: Callable[[], str]) -> World:
    """Return how all is when it is as it must be."""
    deadline = time.monotonic() + SETTLED
    while not holds(now := scene.world()):
        assert time.monotonic() < deadline, what()
        time.sleep(POLL)
    return now


def difference(scene: Scene, wanted: Shape) -> str:
    """Return what is other than wanted."""
    found = scene.world().shape
    if found == wanted:
        return "not the programs on hooks that are to be there"
    return f"too much: {sorted(found - wanted)}, missing: {sorted(wanted - found)}"

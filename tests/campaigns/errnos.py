"""G3: one call fails, with each errno that it may have; a typed error, or all as if nothing had been."""

import errno
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.campaigns.errno_scene import OPERATIONS, Operation, Scene, Shape, World
from tests.campaigns.figures import Figures
from tests.campaigns.seams import Call, Seams
from tests.support.daemon import daemon_in
from tests.support.in_process import Faults, in_process
from tests.support.netns import veth_pair
from xdploaderd.daemon.options import parse_options
from xdploaderd.errors import LoaderError

T = TypeVar("T")

SETTLED = 2.0  # seconds that the kernel may take to free what is closed
_COMMON = (errno.EPERM, errno.ENOMEM, errno.EINTR)
_FILE = (errno.EIO, errno.ENOSPC, errno.EROFS)
# What else each call may end with. Not here is what would be a lie about the world: ENOENT for a pin that is there.
ERRNOS: Mapping[str, Sequence[int]] = {
    "bpf MAP_CREATE": (errno.EINVAL, errno.E2BIG, errno.EMFILE),
    "bpf PROG_LOAD": (errno.EINVAL, errno.E2BIG, errno.EAGAIN, errno.EACCES, errno.EMFILE, errno.ENOSPC),
    "bpf BTF_LOAD": (errno.EINVAL, errno.E2BIG, errno.EMFILE),
    "bpf OBJ_PIN": (errno.EEXIST, errno.EINVAL, errno.EIO, errno.ENOSPC),
    "bpf OBJ_GET": (errno.EACCES, errno.EMFILE, errno.EIO),
    "bpf MAP_UPDATE_ELEM": (errno.E2BIG, errno.EBUSY, errno.EINVAL),
    "bpf MAP_UPDATE_BATCH": (errno.E2BIG, errno.EBUSY),
    "bpf LINK_CREATE": (errno.EINVAL, errno.EBUSY, errno.EEXIST, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSPC),
    "bpf LINK_UPDATE": (errno.EINVAL, errno.EBUSY, errno.ENOLINK),
    "bpf LINK_DETACH": (errno.EINVAL, errno.EBUSY),
    "bpf MAP_FREEZE": (errno.EBUSY,),
    "rtnl link-set": (errno.EBUSY, errno.EEXIST, errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC),
    "rtnl clsact-add": (errno.EBUSY, errno.EINVAL, errno.ENODEV),
    "rtnl clsact-del": (errno.EBUSY, errno.EINVAL),
    "rtnl add-filter": (errno.EEXIST, errno.EINVAL, errno.ENOSPC, errno.EBUSY, errno.EAGAIN),
    "rtnl replace-filter": (errno.EINVAL, errno.ENOSPC, errno.EBUSY, errno.EAGAIN),
    "rtnl del-filter": (errno.EINVAL, errno.EBUSY),
    "ask RTM_GETLINK": (errno.ENOBUFS,),
    "ask RTM_GETQDISC": (errno.ENOBUFS,),
    "ask RTM_GETTFILTER": (errno.ENOBUFS,),
    **{f"file {name}": _FILE for name in ("mkdir", "rmdir", "rename", "replace", "unlink", "fsync", "chmod")},
    "file open": (*_FILE, errno.EMFILE),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One errno of one call of an operation."""

    operation: str
    call: Call
    code: int

    def __str__(self) -> str:
        return f"{self.operation}: {self.call} with {errno.errorcode[self.code]}"


@dataclass(frozen=True, slots=True)
class Shapes:
    """How all is before and after an operation."""

    before: Shape
    after: Shape


@dataclass(slots=True)
class Tally:
    """What the cases came to."""

    refused: int = 0
    withstood: int = 0
    missed: int = 0
    failures: list[str] = field(default_factory=list)

    def figures(self, points: int) -> Figures:
        """Return it in words."""
        return {"calls": points, "cases": self.refused + self.withstood, "typed errors": self.refused,
                "carried out all the same": self.withstood, "calls that did not come": self.missed,
                "left": 0}  # fmt: skip


def run(directory: Path, rounds: int, names: Sequence[str] = tuple(OPERATIONS)) -> Figures:
    """Try every case, or `rounds` of them evenly spread; AssertionError with all that went wrong."""
    with scene_in(directory) as (scene, seams):
        shapes, cases = {}, []
        for name in names:  # what stays of each, such as pinned maps, is there from here on
            OPERATIONS[name].before(scene)
            OPERATIONS[name].act(scene)
        for name in names:
            shapes[name], calls = recorded(scene, seams, OPERATIONS[name])
            cases += [Case(name, call, code) for call in calls for code in codes_of(call)]
        points = len({(case.operation, case.call) for case in cases})
        tally = Tally()
        for case in spread(cases, rounds):
            try:
                _try(scene, seams, case, shapes[case.operation], tally)
            except (AssertionError, LoaderError) as error:
                tally.failures.append(f"{case}: {error}")
                scene.reset()
        scene.ready()
        assert not tally.failures, "\n".join([f"{len(tally.failures)} of {len(cases)}", *tally.failures])
        return tally.figures(points)


def codes_of(call: Call) -> Sequence[int]:
    """Return the errnos that a call is to fail with."""
    if call.kind.startswith("bpf"):
        return *_COMMON, *ERRNOS.get(call.kind, (errno.EINVAL,))
    return *_COMMON[:2], *ERRNOS[call.kind]


def spread(cases: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` of them, evenly spread."""
    if len(cases) <= most:
        return cases
    return [cases[number * len(cases) // most] for number in range(most)]


@contextmanager
def scene_in(directory: Path) -> Iterator[tuple[Scene, Seams]]:
    """A daemon in this process, with all usual entries in force; afterwards nothing of it is left."""
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(veth_pair(f"veth{number}", f"peer{number}"))
        files = stack.enter_context(daemon_in(directory))
        scene, seams = Scene(files), Seams()
        stack.enter_context(seams.installed())
        options = parse_options(files.command()[3:])
        scene.daemon = stack.enter_context(in_process(options, seams.rtnl))
        scene.ready()
        yield scene, seams
        files.configure()
        scene.daemon.ask(scene.daemon.service.reload())


def recorded(scene: Scene, seams: Seams, operation: Operation) -> tuple[Shapes, Sequence[Call]]:
    """Carry the operation out; return how all is before and after it, and its calls."""
    operation.before(scene)
    before = settled(scene)
    with seams.watched():
        operation.act(scene)
    return Shapes(before, settled(scene)), seams.calls


def settled(scene: Scene) -> Shape:
    """Return how all is, once the kernel has freed what was closed."""
    time.sleep(0.1)
    return scene.world().shape


def begun(scene: Scene, operation: Operation, shapes: Shapes) -> World:
    """Bring the scene to where the operation begins, and return how all is when what was closed is freed."""
    operation.before(scene)
    _wait(lambda: scene.world().shape == shapes.before, lambda: f"to begin with, {_difference(scene, shapes.before)}")
    return scene.world()


@dataclass(frozen=True, slots=True)
class Met:
    """How all was before a case and is to be when it is carried out; the error, if there was one.

    `runs_on`: the daemon does while this is looked at, and what is still wanted comes by its own next try.
    """

    before: World
    after: Shape
    error: LoaderError | None
    runs_on: bool = False

    def is_fine(self, now: World) -> bool:
        """Return whether an error left all as it was."""
        return now == self.before or (self.runs_on and now.shape == self.after)


def _try(scene: Scene, seams: Seams, case: Case, shapes: Shapes, tally: Tally) -> None:
    operation = OPERATIONS[case.operation]
    before = begun(scene, operation, shapes)
    with tracebacks() as faults, seams.watched(case.call, case.code):
        error = failure_of(operation, scene)
    assert not faults.tracebacks, faults.tracebacks[0]
    if seams.failed:
        judge(scene, operation, Met(before, shapes.after, error), tally)
    else:
        tally.missed += 1


def failure_of(operation: Operation, scene: Scene) -> LoaderError | None:
    """Carry the operation out and return the typed error that it ended with; any other is a finding."""
    try:
        operation.act(scene)
    except LoaderError as error:
        return error
    except Exception:  # noqa: BLE001 - whatever else leaves is the finding
        raise AssertionError(traceback.format_exc()) from None
    return None


def judge(scene: Scene, operation: Operation, met: Met, tally: Tally) -> None:
    """Raise AssertionError unless a fault was withstood, or was told and changed nothing, and the next try succeeds."""
    error, after = met.error, met.after
    if error is None:
        _wait(lambda: scene.world().shape == after, lambda: f"no error, and {_difference(scene, after)}")
        tally.withstood += 1
        return
    _wait(lambda: met.is_fine(scene.world()), lambda: f"'{error}', and {_difference(scene, met.before.shape)}")
    assert "'" in str(error) or str(error).count(": ") > 1, f"'{error}' names nothing"
    operation.act(scene)
    _wait(lambda: scene.world().shape == after, lambda: f"tried again, {_difference(scene, after)}")
    tally.refused += 1


@contextmanager
def tracebacks() -> Iterator[Faults]:
    """Collect the tracebacks that are logged."""
    faults = Faults()
    logging.getLogger("xdploaderd").addHandler(faults)
    try:
        yield faults
    finally:
        logging.getLogger("xdploaderd").removeHandler(faults)


def _wait(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + SETTLED
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


def _difference(scene: Scene, wanted: Shape) -> str:
    found = scene.world().shape
    return f"too much: {sorted(found - wanted)}, missing: {sorted(wanted - found)}"

"""G3: one call fails, with each errno that it may have; a typed error, or all as if nothing had been."""

import errno
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from tests.campaigns.errno_operations import MORE, OPERATIONS, Operation
from tests.campaigns.errno_scene import INTERFACES, LOOK_SECONDS, Scene
from tests.campaigns.errno_world import Shape, World
from tests.campaigns.figures import Figures
from tests.campaigns.sample import sample
from tests.campaigns.seams import Call, Seams
from tests.support.daemon import daemon_in
from tests.support.in_process import Faults, Outside, in_process
from tests.support.netns import veth_pair
from xdploaderd.daemon import service, trial
from xdploaderd.daemon.options import parse_options
from xdploaderd.errors import LoaderError

ALL: Mapping[str, Operation] = {**OPERATIONS, **MORE}
POLL = 0.01  # seconds
SETTLED = 2.0  # seconds that the kernel may take to free what is closed
_COMMON = (errno.EPERM, errno.ENOMEM, errno.EINTR)
_FILE = (errno.EIO, errno.ENOSPC, errno.EROFS)
# What else each call may end with. Not here is what would be a lie about the world: ENOENT for a pin that is there,
# ENODEV for an interface that is there.
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
    "rtnl link-set": (errno.EBUSY, errno.EEXIST, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC),
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


@dataclass(slots=True)
class Tally:
    """What the cases came to."""

    refused: int = 0
    withstood: int = 0
    missed: int = 0
    failures: list[str] = field(default_factory=list)

    def failed(self, what: str) -> None:
        """Take note of what went wrong, and tell it now: a run may be cut short."""
        self.failures.append(what)
        sys.stderr.write(f"{what}\n")

    def figures(self, points: int) -> Figures:
        """Return it in words."""
        return {"calls": points, "cases": self.refused + self.withstood, "typed errors": self.refused,
                "carried out all the same": self.withstood, "calls that did not come": self.missed,
                "left": 0}  # fmt: skip


def run(directory: Path, rounds: int, seed: int = 1, names: Sequence[str] = tuple(OPERATIONS)) -> Figures:
    """Try every case, or `rounds` of them evenly spread; AssertionError with all that went wrong."""
    with scene_in(directory) as (scene, seams):
        shapes, cases = survey(scene, seams, names)
        points = len({(case.operation, case.call) for case in cases})
        tally = Tally()
        for case in sample(cases, rounds, seed):
            try:
                _try(scene, seams, case, shapes[case.operation], tally)
            except (AssertionError, LoaderError) as error:
                tally.failed(f"{case}: {error}")
                scene.reset()
        scene.ready()
        assert not tally.failures, "\n".join([f"{len(tally.failures)} of {len(cases)}", *tally.failures])
        return {"of": len(cases), **tally.figures(points)}


def survey(scene: Scene, seams: Seams, names: Sequence[str]) -> tuple[Mapping[str, Shapes], Sequence[Case]]:
    """Carry every operation out; return what each does, and its cases."""
    shapes: dict[str, Shapes] = {}
    cases: list[Case] = []
    for name in names:  # what stays of each, such as pinned maps, is there from here on
        ALL[name].before(scene)
        ALL[name].act(scene)
    for name in names:
        shapes[name], calls = recorded(scene, seams, ALL[name])
        cases += [Case(name, call, code) for call in calls for code in codes_of(call, ALL[name])]
    return shapes, cases


def codes_of(call: Call, operation: Operation) -> Sequence[int]:
    """Return the errnos that a call of the operation is to fail with."""
    if call.kind == "bpf OBJ_GET" and operation.others:
        return errno.ENOMEM, errno.EINTR, errno.EMFILE, errno.EIO
    if call.kind.startswith("bpf"):
        return *_COMMON, *ERRNOS.get(call.kind, (errno.EINVAL,))
    return *_COMMON[:2], *ERRNOS[call.kind]


@contextmanager
def scene_in(directory: Path) -> Iterator[tuple[Scene, Seams]]:
    """A daemon in this process, with all usual entries in force; afterwards nothing of it is left."""
    with ExitStack() as stack:
        for number, name in enumerate(INTERFACES):
            stack.enter_context(veth_pair(name, f"peer{number}"))
        for module in (service, trial):
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


def recorded(scene: Scene, seams: Seams, operation: Operation) -> tuple[Shapes, Sequence[Call]]:
    """Carry the operation out; return how all is before and after it, and its calls."""
    operation.before(scene)
    before = settled(scene)
    with seams.watched():
        operation.act(scene)
    return Shapes.of(before, settled(scene)), seams.calls


def settled(scene: Scene) -> World:
    """Return how all is, once the kernel has freed what was closed."""
    time.sleep(0.1)
    return scene.world()


def begun(scene: Scene, operation: Operation, shapes: Shapes) -> World:
    """Bring the scene to where the operation begins, and return how all is when what was closed is freed."""
    operation.before(scene)
    wanted = shapes.before
    return _wait(scene, lambda now: now.shape == wanted, lambda: f"to begin with, {difference(scene, wanted)}")


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


def _try(scene: Scene, seams: Seams, case: Case, shapes: Shapes, tally: Tally) -> None:
    operation = ALL[case.operation]
    before = begun(scene, operation, shapes)
    with tracebacks() as faults, seams.watched({case.call: case.code}):
        error = failure_of(operation, scene)
    assert not faults.tracebacks, faults.tracebacks[0]
    if seams.failed:
        judge(scene, operation, Met(before, shapes, error), tally)
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
    error, after = met.error, met.shapes.after
    if error is None:
        _wait(scene, met.is_done, lambda: f"no error, and {difference(scene, after)}")
        tally.withstood += 1
        return
    if not operation.in_part:
        _wait(scene, met.is_fine, lambda: f"'{error}', and {difference(scene, met.before.shape)}")
    assert "'" in str(error) or str(error).count(": ") > 1, f"'{error}' names nothing"
    operation.act(scene)
    _wait(scene, met.is_done, lambda: f"tried again, {difference(scene, after)}")
    tally.refused += 1


@contextmanager
def tracebacks() -> Iterator[Faults]:
    """Collect the tracebacks that are logged."""
    faults = Faults()
    with handled_by(faults):
        yield faults


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

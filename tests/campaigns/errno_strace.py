"""G3 from outside: the errno is put into a system call of a daemon's process by strace(1); the same judgement.

What is chosen is bpf(2), changes and questions by netlink, and the calls on files; what goes to clients is left alone.
"""

import errno
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.campaigns import errno_cases, errnos
from tests.campaigns.errno_judgement import Met, Outcome, Shapes, begun, failure_of, judge, recorded
from tests.campaigns.errno_operations import OPERATIONS, Operation
from tests.campaigns.errno_scene import INTERFACES, Scene
from tests.campaigns.figures import Figures
from tests.campaigns.sample import sample
from tests.campaigns.seams import Call
from tests.campaigns.tracing import traced
from tests.support.daemon import Daemon, daemon_in
from tests.support.netns import veth_pair
from xdploaderd.daemon.service.requests import AttachRequest

NAMES = ("attach-edge", "attach-tail", "replace-wire", "replace-side", "detach-tail", "reload", "migrate", "map-init",
         "runtime", "adopt", "confirm")  # fmt: skip
CALLS = ("bpf", "sendto", "mkdir", "rename", "unlink", "rmdir", "fsync")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_BPF = re.compile(r"BPF_(\w+)")
_NETLINK = {
    "RTM_SETLINK": "rtnl link-set",
    "RTM_NEWQDISC": "rtnl clsact-add",
    "RTM_DELQDISC": "rtnl clsact-del",
    "RTM_NEWTFILTER": "rtnl add-filter",
    "RTM_DELTFILTER": "rtnl del-filter",
    "RTM_GETLINK": "ask RTM_GETLINK",
    "RTM_GETTFILTER": "ask RTM_GETTFILTER",
    "RTM_GETQDISC": "ask RTM_GETQDISC",
}
_RETRIED = (errno.EINTR, errno.EAGAIN)  # of sendto(2), by the event loop


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th of a system call by a thread; `kind` is what it is for."""

    thread: int
    call: str
    number: int
    kind: str


@dataclass(frozen=True, slots=True)
class Case:
    """One errno of one call."""

    operation: str
    point: Point
    code: int

    def __str__(self) -> str:
        where = f"{self.point.kind} ({self.point.call} {self.point.number})"
        return f"{self.operation}: {where} with {errno.errorcode[self.code]}"


class Remote:
    """A daemon's process, asked as one in this process is."""

    def __init__(self, daemon: Daemon) -> None:
        self.service: Any = self
        self._call = daemon.call

    def ask(self, request: Callable[[], Any]) -> Any:
        """Carry out what one of the others returned."""
        return request()

    def reload(self, *, partial: bool = False, confirm: int = 0) -> Callable[[], Any]:
        return lambda: self._call("Reload", partial=partial, confirm=confirm)

    def confirm(self) -> Callable[[], Any]:
        return lambda: self._call("Confirm")

    def attach(self, name: str, *, confirm: int = 0) -> Callable[[], Any]:
        return lambda: self._call("Attach", name=name, confirm=confirm)

    def detach(self, name: str, *, confirm: int = 0) -> Callable[[], Any]:
        return lambda: self._call("Detach", name=name, confirm=confirm)

    def list(self) -> Callable[[], Any]:
        return lambda: [SimpleNamespace(**found) for found in self._call("List")["attachments"]]

    def attach_object(self, request: AttachRequest) -> Callable[[], Any]:
        given = {"program": request.program, "descriptor": request.descriptor}
        ((key, fd),) = ((key, fd) for key, fd in given.items() if fd is not None)
        words: dict[str, Any] = {"entry": request.entry, "confirm": request.confirm, key: 0}
        return lambda: self._call("AttachObject", descriptors=(fd,), **words)


@dataclass(slots=True)
class Stage:
    """A scene whose daemon is a process."""

    scene: Scene
    daemon: Daemon
    trace: Path


def run(directory: Path, rounds: int) -> Figures:
    """Attempt `rounds` cases, evenly spread; AssertionError with all that went wrong."""
    with _stage(directory) as stage:
        shapes, cases = errnos.survey(stage.scene, NAMES, lambda name: _recorded(stage, name))
        calls = len({(case.operation, case.point) for case in cases})
        chosen = sample(cases, 2 * rounds)  # some calls do not come: threads share them otherwise
        done = errnos.tried(stage.scene, chosen, rounds, lambda case: _attempt(stage, case, shapes[case.operation]))
        return {"calls": calls, **done}


@contextmanager
def _stage(directory: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        for number, name in enumerate(INTERFACES):
            stack.enter_context(veth_pair(name, f"peer{number}"))
        daemon = stack.enter_context(daemon_in(directory))
        scene = Scene(daemon)
        scene.daemon = Remote(daemon)
        daemon.start()
        scene.process = str(daemon.pid)
        scene.ready()
        yield Stage(scene, daemon, directory / "trace")
        daemon.configure()
        daemon.call("Reload")


def codes_of(point: Point, operation: Operation) -> Sequence[int]:
    """Return the errnos that the call is to fail with."""
    codes = errno_cases.codes_of(Call(point.kind, point.number), operation)
    return [code for code in codes if code not in _RETRIED] if point.call == "sendto" else codes


def _recorded(stage: Stage, name: str) -> tuple[Shapes, Sequence[Case]]:
    words = ["-f", "-s", "300", "-o", str(stage.trace), "-e", f"trace={','.join(CALLS)}"]
    shapes = recorded(stage.scene, OPERATIONS[name], traced(stage.daemon.pid, words))
    points = points_of(stage.trace.read_text().splitlines())
    return shapes, [Case(name, point, code) for point in points for code in codes_of(point, OPERATIONS[name])]


def points_of(lines: Sequence[str]) -> Iterator[Point]:
    """Yield the calls in a trace that may be made to fail."""
    counts: Counter[tuple[int, str]] = Counter()
    for match in filter(None, map(_LINE.match, lines)):
        thread, call, rest = int(match[1]), match[2], match[3]
        counts[thread, call] += 1
        kind = _kind_of(call, rest)
        if kind is not None:
            yield Point(thread, call, counts[thread, call], kind)


def _kind_of(call: str, rest: str) -> str | None:
    if call == "bpf":
        found = _BPF.match(rest)
        return f"bpf {found[1]}" if found else None
    if call == "sendto":
        return next((kind for word, kind in _NETLINK.items() if word in rest), None)
    return f"file {call}"


def _attempt(stage: Stage, case: Case, shapes: Shapes) -> Outcome:
    operation, point = OPERATIONS[case.operation], case.point
    before = begun(stage.scene, operation, shapes)
    inject = f"inject={point.call}:error={errno.errorcode[case.code]}:when={point.number}"
    words = ["-o", str(stage.trace), "-e", f"trace={point.call}", "-e", inject]
    with traced(point.thread, words):
        error = failure_of(operation, stage.scene)
    assert "Traceback" not in stage.daemon.log(), stage.daemon.log()
    if "(INJECTED)" not in stage.trace.read_text():
        return Outcome.MISSED
    runs_on = case.operation.startswith(("attach", "detach"))
    return judge(stage.scene, operation, Met(before, shapes, error, runs_on=runs_on))

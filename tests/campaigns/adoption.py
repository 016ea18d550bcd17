"""G8: programs on many interfaces, adopted by the next daemon without a kernel write; and what they cost at rest."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.campaigns.churn import LATE
from tests.campaigns.figures import Figures, spread
from tests.campaigns.marked import Marked
from tests.campaigns.process import cpu, rss, wake_ups
from tests.support.daemon import PATIENCE, Daemon, daemon_in, xdp_id
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import ip
from tests.support.sandbox import pin_tree

MADE_ANEW: Final = 50  # times at most, of one interface among all
IDLE_SECONDS: Final = 120.0
QUIET: Final = 0.5  # seconds, more than the longest rest between two passes
_TENTH: Final = 10

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon beside pairs of interfaces, g0 and h0 and so on."""

    daemon: Daemon
    marked: Marked
    pairs: int

    @property
    def interfaces(self) -> Sequence[str]:
        """The names of all interfaces."""
        return [f"{end}{number}" for number in range(self.pairs) for end in "gh"]


def by_name(scene: Scene) -> Sequence[Entry]:
    """Return an entry for each interface, XDP and tc by turns."""
    xdp = {"hook": "xdp", "object": scene.marked.copy("stamp.bpf.o", "stamp_xdp")}
    tc = {"hook": "tc-ingress", "object": scene.marked.copy("std_globals.bpf.o", "globals", to=".o")}
    xdp["program"], tc["program"] = scene.marked.name("stamp_xdp"), scene.marked.name("globals")
    return [{"name": name, "interface": name, **(xdp if name[0] == "g" else tc)} for name in scene.interfaces]


def by_match(scene: Scene) -> Sequence[Entry]:
    """Return one entry of XDP for all interfaces."""
    xdp = {"hook": "xdp", "object": scene.marked.copy("stamp.bpf.o", "stamp_xdp")}
    return [{"name": "all", "match": "{name: '[gh]*'}", **xdp, "program": scene.marked.name("stamp_xdp")}]


KINDS: Final[Mapping[str, Callable[[Scene], Sequence[Entry]]]] = {"name": by_name, "match": by_match}


def run(directory: Path, rounds: int, kind: str = "name") -> Figures:
    """Attach to `rounds` interfaces and start anew; AssertionError where that writes to the kernel or loses one."""
    with _scene(directory, rounds) as scene:
        daemon, pins = scene.daemon, pin_tree()
        empty = _started(scene)
        daemon.end()
        daemon.configure(*KINDS[kind](scene))
        cold = _started(scene)
        before, changes = _programs(scene), daemon.changes()
        trace = directory / "trace"
        daemon.end()
        daemon.start(prefix=("strace", "--seccomp-bpf", *to_file(trace)))
        assert _programs(scene) == before
        assert not (writes := kernel_writes(trace)), writes[:3]
        daemon.end()
        adopted = _started(scene)
        assert _programs(scene) == before
        assert daemon.changes() == changes
        made_anew = [_made_anew(before["g0"]) for _ in range(min(MADE_ANEW, max(1, rounds // _TENTH)))]
        _emptied(scene)
        assert pin_tree() == pins
        return {"interfaces": rounds, "kernel writes": 0, **_times("empty start", empty), **_times("cold start", cold),
                **_times("adopted", adopted), **spread("one made anew", made_anew)}  # fmt: skip


def run_idle(directory: Path, rounds: int, seconds: float = IDLE_SECONDS) -> Figures:
    """Let a daemon rest, first with nothing to do and then with `rounds` attachments."""
    with _scene(directory, rounds) as scene:
        _started(scene)
        figures = {f"with none: {name}": value for name, value in _at_rest(scene.daemon, seconds).items()}
        scene.daemon.end()
        scene.daemon.configure(*by_name(scene))
        _started(scene)
        figures |= {f"with {rounds}: {name}": value for name, value in _at_rest(scene.daemon, seconds).items()}
        _emptied(scene)
        return figures


@contextmanager
def _scene(directory: Path, interfaces: int) -> Iterator[Scene]:
    pairs = interfaces // 2
    ip("-batch", "-", text="".join(f"link add g{n} type veth peer name h{n}\n" for n in range(pairs)))
    try:
        with daemon_in(directory) as daemon:
            yield Scene(daemon, Marked(directory), pairs)
    finally:
        ip("-force", "-batch", "-", text="".join(f"link del g{n}\n" for n in range(pairs)))


def _started(scene: Scene) -> tuple[float, float]:
    """Start the daemon and return how long that took until all was tried, and its CPU time."""
    began = time.monotonic()
    scene.daemon.start()
    return time.monotonic() - began, cpu(scene.daemon.pid)


def _times(what: str, times: tuple[float, float]) -> Figures:
    return {f"{what} s": round(times[0], 2), f"{what} CPU s": round(times[1], 2)}


def _programs(scene: Scene) -> Mapping[str, int]:
    """Return the program of each interface, all of which are to have one, as the daemon tells."""
    found = scene.daemon.call("List")["attachments"]
    assert Counter(a["state"] for a in found) == {"attached": len(scene.interfaces)}
    return {a["interface"]: a["prog_id"] for a in found}


def _made_anew(ours: int) -> float:
    """Make the first pair anew and return how long its program took."""
    ip("link", "del", "g0")
    began = time.monotonic()
    ip("link", "add", "g0", "type", "veth", "peer", "name", "h0")
    while xdp_id("g0") != ours:
        assert time.monotonic() - began < LATE, f"nothing attached after {LATE} s"
    return time.monotonic() - began


def _at_rest(daemon: Daemon, seconds: float) -> Figures:
    _wait_until_quiet(daemon.pid)
    woke, used = wake_ups(daemon.pid), cpu(daemon.pid)
    time.sleep(seconds)
    woke, used = wake_ups(daemon.pid) - woke, cpu(daemon.pid) - used
    return {"RSS KiB": rss(daemon.pid), "wake-ups a minute": round(woke * 60 / seconds, 1),
            "CPU ms a minute": round(used * 60_000 / seconds)}  # fmt: skip


def _wait_until_quiet(pid: int) -> None:
    """Return when what the start brought about, such as events of its own changes, has come to its end."""
    deadline = time.monotonic() + PATIENCE
    before = -1
    while (now := wake_ups(pid)) != before:
        assert time.monotonic() < deadline, f"woke {now} times and does not rest"
        before = now
        time.sleep(QUIET)


def _emptied(scene: Scene) -> None:
    scene.daemon.configure()
    scene.daemon.call("Reload")
    scene.marked.settled_at(0, 0)

"""G9: an interface that is made anew gets its program again, soon, and so it does when the event of it was lost."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.campaigns.figures import Figures, percentile, spread
from tests.campaigns.marked import Marked
from tests.campaigns.process import descriptors, held, rss, threads
from tests.support.daemon import SLOWNESS, Daemon, daemon_in, xdp_id
from tests.support.netns import ip, veth_pair
from tests.support.sandbox import pin_tree

SOON = 0.2  # seconds: the goal for the p99, from before the interface is made
LATE = 5.0 * SLOWNESS
RESYNC_SOON = 1.0
RSS_LIMIT = 5 << 10  # KiB that the daemon may grow by
STORM = "".join(f"link set lo alias {number}\n" for number in range(3000))  # more than the socket's buffer holds

Named = Mapping[str, str]  # the keys of an entry that tell its interface
BY_NAME: Final[Named] = {"interface": "veth0"}
BY_MATCH: Final[Named] = {"match": "{name: 'veth*'}"}


def run(directory: Path, rounds: int, named: Named = BY_NAME) -> Figures:
    """Delete and make an interface `rounds` times; AssertionError where its program does not come, or another does."""
    with veth_pair(), daemon_in(directory) as daemon:
        marked, ours = _attached(daemon, directory, named)
        pins, before, size = pin_tree(), held(daemon.pid), rss(daemon.pid)
        took = [_made_anew(ours) for _ in range(rounds)]
        _check_left(daemon, marked, pins)
        assert held(daemon.pid) == before
        ran = threads(daemon.pid)
        growth = rss(daemon.pid) - size
        assert growth <= RSS_LIMIT, f"the daemon grew by {growth} KiB"
    return {"made anew": rounds, **spread("attached after", took), "over 200 ms": sum(t > SOON for t in took),
            "p99 within goal": str(percentile(took, 0.99) <= SOON),
            "RSS growth KiB": growth, "threads": ran}  # fmt: skip


def run_overrun(directory: Path, rounds: int) -> Figures:
    """Let the daemon miss the events of a change `rounds` times, by a storm that overruns its socket's buffer."""
    took = []
    with veth_pair(), daemon_in(directory) as daemon:
        marked, ours = _attached(daemon, directory)
        pins = pin_tree()
        for _ in range(rounds):
            before = _drops(daemon)
            os.kill(daemon.pid, signal.SIGSTOP)
            try:
                ip("-batch", "-", text=STORM)
                _make_anew()
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            took.append(_until_attached(ours, time.monotonic()))
            assert _drops(daemon) > before, "no event was lost: the storm was too small"
            assert took[-1] <= RESYNC_SOON, f"{took[-1]:.2f} s to find out what was missed"
        _check_left(daemon, marked, pins)
    return {"overruns": rounds, **spread("in order after", took)}


def _attached(daemon: Daemon, directory: Path, named: Named = BY_NAME) -> tuple[Marked, int]:
    marked = Marked(directory)
    entry = {"name": "edge", **named, "hook": "xdp", "program": marked.name("stamp_xdp")}
    daemon.configure({**entry, "object": marked.copy("stamp.bpf.o", "stamp_xdp")})
    daemon.start()
    return marked, xdp_id()


def _check_left(daemon: Daemon, marked: Marked, pins: frozenset[str]) -> None:
    assert pin_tree() == pins
    marked.settled_at(1, 0)
    assert "Traceback" not in daemon.log()


def _make_anew() -> None:
    ip("link", "del", "veth0")
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "other0")


def _made_anew(ours: int) -> float:
    ip("link", "del", "veth0")
    began = time.monotonic()
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "other0")
    return _until_attached(ours, began)


def _until_attached(ours: int, began: float) -> float:
    while (found := xdp_id()) != ours:
        assert not found, f"program {found} instead of {ours}"
        assert time.monotonic() - began < LATE, f"nothing attached after {LATE} s"
    return time.monotonic() - began


def _drops(daemon: Daemon) -> int:
    """Return how many messages the daemon's netlink sockets lost (proc(5), net/netlink)."""
    inodes = {target.removeprefix("socket:[").removesuffix("]") for target in descriptors(daemon.pid)}
    lines = Path(f"/proc/{daemon.pid}/net/netlink").read_text().splitlines()[1:]
    return sum(int(words[8]) for words in map(str.split, lines) if words[9] in inodes)

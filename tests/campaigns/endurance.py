"""G7: load, attach, replace and unload over and over: nothing adds up, neither in the kernel nor in the daemon."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.campaigns.figures import Figures
from tests.campaigns.marked import Marked
from tests.campaigns.process import Held, cpu, held, rss, threads
from tests.support.daemon import OWN_PINS, Daemon, daemon_in
from tests.support.netns import veth_pair
from tests.support.sandbox import pin_tree

RSS_LIMIT: Final = 5 << 10  # KiB that the daemon may grow by
CHECK_EVERY: Final = 100
NAMES: Final = 4  # one in so many cycles has a name that was never there before

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Baseline:
    """All that has to be as it was."""

    pins: frozenset[str]
    files: frozenset[Path]
    held: Held


def run(directory: Path, rounds: int) -> Figures:
    """Run `rounds` cycles, XDP and tc by turns; AssertionError where anything is left or memory grows."""
    marked = Marked(directory)
    kinds = tuple(_kinds(marked))
    warm_up = max(2, min(200, rounds // 5))
    with veth_pair(), daemon_in(directory) as daemon:
        daemon.start()
        for number in range(warm_up):
            _cycle(daemon, *kinds[number % 2], str(number % NAMES))
        marked.settled_at(0, 0)
        before, curve = _baseline(daemon), [rss(daemon.pid)]
        began, used = time.monotonic(), cpu(daemon.pid)
        for number in range(rounds):
            _cycle(daemon, *kinds[number % 2], str(number if number % NAMES == 0 else number % NAMES))
            if number % CHECK_EVERY == 0:
                marked.settled_at(0, 0)
            if (number + 1) * 10 // rounds >= len(curve):
                curve.append(rss(daemon.pid))
        seconds, used = time.monotonic() - began, cpu(daemon.pid) - used
        _check(daemon, marked, before)
        growth = [size - curve[0] for size in curve[1:]]
        assert growth[-1] <= RSS_LIMIT, f"the daemon grew by {growth} KiB"
        return {"cycles": rounds, "RSS KiB before": curve[0], "growth KiB at each tenth": " ".join(map(str, growth)),
                "descriptors": before.held.descriptors, "threads": threads(daemon.pid), "left": 0,
                "cycles/s": round(rounds / seconds, 1), "CPU ms a cycle": round(used / rounds * 1000, 1)}  # fmt: skip


def _kinds(marked: Marked) -> Iterator[tuple[Entry, tuple[Entry, Entry]]]:
    """Yield an entry for XDP and one for tc, each with what its first and second program are made from."""
    first, second = (marked.copy(version, "stamp_xdp") for version in ("stamp.bpf.o", "stamp_v2.bpf.o"))
    xdp = {"name": "xdp", "interface": "veth0", "hook": "xdp", "program": marked.name("stamp_xdp")}
    yield xdp, ({"object": str(first)}, {"object": str(second)})
    file = str(marked.copy("std_globals.bpf.o", "globals", to=".o"))
    tc = {"name": "tc", "interface": "veth0", "hook": "tc-ingress", "program": marked.name("globals")}
    yield tc, ({"object": file, "globals": {"start": "1"}}, {"object": file, "globals": {"start": "2"}})


def _cycle(daemon: Daemon, entry: Entry, versions: tuple[Entry, Entry], suffix: str) -> None:
    name = f"{entry['name']}-{suffix}"
    for version in versions:
        daemon.call("AttachObject", entry={**entry, **version, "name": name})
    daemon.call("Detach", name=name)


def _baseline(daemon: Daemon) -> Baseline:
    files = frozenset(path for top in (daemon.state, daemon.data) for path in top.rglob("*"))
    return Baseline(pin_tree(), files, held(daemon.pid))


def _check(daemon: Daemon, marked: Marked, before: Baseline) -> None:
    """Compare what is left; a link holds its program, and a BTF lives as long as a program, a map or a descriptor."""
    marked.settled_at(0, 0)
    after = _baseline(daemon)
    assert after == before, f"{after}, before {before}"
    assert not before.held.bpf, f"{before.held.bpf} descriptors of BPF objects"
    assert not OWN_PINS.exists()
    assert "Traceback" not in daemon.log()

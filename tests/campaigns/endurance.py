"""G7: load, attach, replace and unload over and over: nothing adds up, neither in the kernel nor in the daemon."""

import os
import time
from pathlib import Path

from tests.campaigns.figures import Figures
from tests.campaigns.marked import Marked
from tests.support.daemon import OWN_PINS, Daemon, daemon_in
from tests.support.netns import veth_pair
from tests.support.sandbox import pin_tree

RSS_LIMIT = 5 << 10  # KiB that the daemon may grow by
CHECK_EVERY = 100


def run(directory: Path, rounds: int) -> Figures:
    """Run `rounds` cycles, XDP and tc by turns; AssertionError where anything is left or memory grows."""
    marked = Marked(directory)
    xdp = {"name": "xdp", "interface": "veth0", "hook": "xdp", "program": marked.name("stamp_xdp")}
    xdp_versions = [{"object": str(marked.copy(v, "stamp_xdp"))} for v in ("stamp.bpf.o", "stamp_v2.bpf.o")]
    file = marked.copy("std_globals.bpf.o", "globals", to=".o")
    tc = {"name": "tc", "interface": "veth0", "hook": "tc-ingress", "program": marked.name("globals")}
    tc_versions = [{"object": str(file), "globals": {"start": str(start)}} for start in (1, 2)]
    with veth_pair(), daemon_in(directory) as daemon:
        daemon.start()
        pins, warm_up = pin_tree(), max(2, min(200, rounds // 5))
        began = time.monotonic()
        base = _rss(daemon), _fds(daemon)
        for number in range(warm_up + rounds):
            if number == warm_up:
                base, began = (_rss(daemon), _fds(daemon)), time.monotonic()
            entry, versions = (xdp, xdp_versions) if number % 2 else (tc, tc_versions)
            for version in versions:
                daemon.call("AttachObject", entry={**entry, **version})
            daemon.call("Detach", name=entry["name"])
            if number % CHECK_EVERY == 0:
                marked.settled_at(0, 0)
        seconds = time.monotonic() - began
        marked.settled_at(0, 0)
        assert pin_tree() == pins, sorted(pin_tree() ^ pins)
        assert not OWN_PINS.exists()
        growth = _rss(daemon) - base[0]
        assert (fds := _fds(daemon)) == base[1], f"{fds} descriptors, {base[1]} before"
        assert growth <= RSS_LIMIT, f"the daemon grew by {growth} KiB"
        return {"cycles": rounds, "RSS KiB before": base[0], "RSS growth KiB": growth, "descriptors": base[1],
                "left": 0, "cycles/s": round(rounds / seconds, 1)}  # fmt: skip


def _rss(daemon: Daemon) -> int:
    line = next(x for x in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1])


def _fds(daemon: Daemon) -> int:
    """Count the daemon's descriptors when the last client's connection has been closed."""
    counts = []
    for _ in range(10):
        counts.append(len(os.listdir(f"/proc/{daemon.pid}/fd")))
        time.sleep(0.02)
    return min(counts)

"""Packets with sequence numbers into a veth pair, and which of them reached the programs (tests/bpf/stamp.bpf.c)."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.daemon import OBJECTS, ROOT
from tests.support.netns import Veth, tc

LAST_PRIORITY = 60000  # behind every program under test
SETTLE_SECONDS = 0.2  # the last packets are on their way to the other namespace


@dataclass(frozen=True, slots=True)
class Seen:
    """Packets: sent, those that came through once, again; and how many bore each stamp (0: none, 1, 2)."""

    sent: int
    seconds: float
    first: int
    again: int
    xdp: tuple[int, int, int]
    tc: tuple[int, int, int]

    @property
    def lost(self) -> int:
        """Packets that were sent and never came."""
        return self.sent - self.first

    @property
    def rate(self) -> int:
        """Packets a second."""
        return round(self.sent / self.seconds)


class Flood:
    """A flood under way."""

    def __init__(self, sender: "subprocess.Popen[str]", counts: int) -> None:
        self._sender = sender
        self._counts = counts

    def began(self) -> None:
        """Return when packets come through."""
        while not _values(self._counts)[0]:
            assert self._sender.poll() is None, "the sender ended"
            time.sleep(0.01)

    def end(self) -> Seen:
        """Stop the sender and count."""
        told, _ = self._sender.communicate("", timeout=30)
        sent, seconds = told.split()
        time.sleep(SETTLE_SECONDS)
        first, again, x0, x1, x2, t0, t1, t2 = _values(self._counts)
        return Seen(int(sent), float(seconds), first, again, (x0, x1, x2), (t0, t1, t2))


@contextmanager
def flood(veth: Veth, rate: int) -> Iterator[Flood]:
    """Send `rate` packets a second from the peer for as long as the block lasts; `check` counts them behind all."""
    tc("qdisc", "replace", "dev", veth.name, "clsact")
    place = ("dev", veth.name, "ingress", "pref", str(LAST_PRIORITY), "handle", "1")
    tc("filter", "add", *place, "bpf", "da", "obj", str(OBJECTS / "stamp_check.bpf.o"), "sec", "tc")
    prefix = ["nsenter", f"--net=/proc/self/fd/{veth.namespace}", sys.executable, "-m", "tests.campaigns.sender"]
    sender = subprocess.Popen(
        [*prefix, veth.peer, str(rate)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(veth.namespace,),
    )  # fmt: skip
    with sender:
        try:
            yield Flood(sender, _counts_map(veth.name))
        finally:
            sender.kill()
            tc("qdisc", "del", "dev", veth.name, "clsact")


def _counts_map(interface: str) -> int:
    shown = tc("-j", "filter", "show", "dev", interface, "ingress", "pref", str(LAST_PRIORITY))
    program = next(f["options"]["prog"]["id"] for f in json.loads(shown) if "options" in f)
    for number in _bpftool("prog", "show", "id", str(program))["map_ids"]:
        if _bpftool("map", "show", "id", str(number))["name"] == "stamp_counts":
            return int(number)
    raise AssertionError("no map of counts")


def _values(map_id: int) -> list[int]:
    return [int(entry["formatted"]["value"]) for entry in _bpftool("map", "dump", "id", str(map_id))]


def _bpftool(*words: str) -> Any:
    return json.loads(subprocess.run(["bpftool", "-j", *words], capture_output=True, text=True, check=True).stdout)

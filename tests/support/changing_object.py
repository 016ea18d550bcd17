"""A daemon with an object that changes on disk: one program for every veth, and which program a frame met."""

from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import OBJECTS, Daemon, counters, wait_for, xdp_entry
from tests.support.netns import Veth

COUNT, COUNT_BY_1000 = OBJECTS / "xdp_count.bpf.o", OBJECTS / "xdp_count_v2.bpf.o"
LOST = "no copy of that is left"


def every(object_file: Path, **fields: object) -> dict[str, object]:
    """Return an entry for each veth."""
    entry = xdp_entry("all", object=object_file, match="{name: veth*}", **fields)
    del entry["interface"]
    return entry


def state(daemon: Daemon, name: str) -> str:
    """Return the state of an attachment, '' where there is none."""
    return next((str(a["state"]) for a in daemon.call("List")["attachments"] if a["name"] == name), "")


def served(daemon: Daemon, second: Callable[[], Veth]) -> Veth:
    """Add the interface and wait until it has its program: a frame before that is not counted."""
    made = second()
    wait_for(lambda: state(daemon, "all@veth1") == "attached", "attached")
    return made


def copies(daemon: Daemon) -> list[Path]:
    """Return what the daemon keeps of the objects that it read."""
    return sorted(daemon.state.glob("read-objects/*/*"))


def counted(veth: Veth) -> int:
    """Return by how much one frame raises the counter: it tells which program saw it."""
    before = sum(counters("xdp_frames"))
    veth.send_in(1)
    wait_for(lambda: sum(counters("xdp_frames")) > before, "the frame is counted")
    return sum(counters("xdp_frames")) - before

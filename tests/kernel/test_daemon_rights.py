"""A real daemon with the three capabilities its unit gives it, and one that is killed in the middle of a change."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import (
    OBJECTS,
    OWN_PINS,
    PATIENCE,
    Daemon,
    counters,
    tail_entry,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
)
from tests.support.netns import Veth, ip

pytestmark = pytest.mark.kernel

UNIT_RIGHTS = ("setpriv", "--bounding-set=-all,+bpf,+net_admin,+perfmon", "--no-new-privs")
KILL_POINTS = {  # of replacing an XDP and a tc program: the n-th call of that system call is not made any more
    "XDP program attached, its pin not yet renamed": ("rename", 2),
    "tc program pinned, not yet attached": ("rename", 3),
    "tc program attached, its pin not yet renamed": ("rename", 4),
    "old program array not yet unpinned": ("rmdir", 1),
}


def copies(directory: Path) -> tuple[Path, Path]:
    """Return copies of the two objects, which a test may change."""
    made = directory / "count.o", directory / "tail.o"
    made[0].write_bytes((OBJECTS / "xdp_count.bpf.o").read_bytes())
    made[1].write_bytes((OBJECTS / "legacy_tail.bpf.o").read_bytes())
    return made


def change(objects: tuple[Path, Path]) -> None:
    """Make both objects others than they were, with programs that do the same."""
    objects[0].write_bytes((OBJECTS / "xdp_count_v2.bpf.o").read_bytes())
    objects[1].write_bytes(objects[1].read_bytes() + b"\0")


def test_unit_s_capabilities_suffice_to_attach_replace_adopt_and_detach(
    veth: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    objects = copies(tmp_path)
    daemon.configure(xdp_entry(object=objects[0]), tail_entry(object=objects[1]))
    daemon.start(prefix=UNIT_RIGHTS)
    first = xdp_id(), tc_ids()
    assert all(first)
    daemon.end(signal.SIGKILL)
    change(objects)
    daemon.start(prefix=UNIT_RIGHTS)
    second = xdp_id(), tc_ids()
    assert second[0] not in (0, first[0])
    assert len(second[1]) == 1
    assert second[1] != first[1]
    veth.send_in(2)
    wait_for(lambda: counters("tc/globals/tail_hits") == [2, 2], "tail calls of the new program")
    assert not daemon.call("Status")["status"]["degraded"]
    daemon.configure()
    daemon.reload()
    assert (xdp_id(), tc_ids()) == (0, [])
    assert not OWN_PINS.exists()


@pytest.mark.parametrize("point", KILL_POINTS)
def test_kill_in_the_middle_of_a_replace_is_repaired_by_the_next_start(
    veth: Veth, daemon: Daemon, tmp_path: Path, point: str
) -> None:
    call, number = KILL_POINTS[point]
    objects = copies(tmp_path)
    daemon.configure(xdp_entry(object=objects[0]), tail_entry(object=objects[1]))
    daemon.start()
    daemon.end(signal.SIGKILL)
    change(objects)
    tracer = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]
    killed = subprocess.run(
        [*tracer, *daemon.command()], cwd=OBJECTS.parents[1], capture_output=True, check=False, timeout=PATIENCE
    )
    assert killed.returncode == -signal.SIGKILL
    assert xdp_id()
    assert len(tc_ids()) == 1
    before = counters("tc/globals/tail_hits")
    veth.send_in(1)
    wait_for(lambda: counters("tc/globals/tail_hits") == [n + 1 for n in before], "old or new tail call")
    daemon.start()
    assert not daemon.call("Status")["status"]["degraded"]
    pins = sorted(
        re.sub(r"\d+", "ID", str(path.relative_to(OWN_PINS))) for path in OWN_PINS.rglob("*") if path.is_file()
    )
    assert pins == ["edge/prog", "tail/arrays_ID/jmp", "tail/prog"]
    assert (OWN_PINS / f"tail/arrays_{tc_ids()[0]}").exists()


def test_foreign_program_of_another_mode_is_replaced_with_force(veth: Veth, daemon: Daemon) -> None:
    ip("link", "set", "veth0", "xdpgeneric", "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")
    foreign = xdp_id()
    daemon.configure(xdp_entry(mode="native", force=True, allow_gap=True))
    daemon.start()
    found = daemon.attachment("edge")
    assert (found["state"], found["actual_mode"]) == ("attached", "native")
    assert xdp_id() not in (0, foreign)

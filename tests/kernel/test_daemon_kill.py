"""A real daemon that is killed at one system call after another; the next one ends what was begun."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import (
    BPFFS,
    OBJECTS,
    OWN_PINS,
    Daemon,
    tail_entry,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
)
from tests.support.netns import Veth
from tests.support.sandbox import pin_tree

pytestmark = pytest.mark.kernel

QUIET_SECONDS = 0.5  # after which the change is taken for done: the call was made less often than that
POINTS = [  # of one thread: the n-th call of that system call from the beginning of the change is not made any more
    *(("bpf", number) for number in (12, 20, 28, 33, 35, 36, 37, 44)),
    *(("sendto", number) for number in (4, 8, 10, 11)),
    *(("rename", number) for number in (1, 3)),
    ("mkdir", 1),
    ("unlink", 1),
    ("rmdir", 1),
]
IN_FORCE = [
    "tc",
    "tc/globals",
    "tc/globals/tail_hits",
    "xdp_frames",
    "xdploaderd",
    "xdploaderd/edge",
    "xdploaderd/edge/prog",
    "xdploaderd/tail",
    "xdploaderd/tail/arrays_ID",
    "xdploaderd/tail/arrays_ID/jmp",
    "xdploaderd/tail/prog",
]


def inject(call: str, number: int) -> list[str]:
    return ["-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]


@contextmanager
def killed_at(daemon: Daemon, call: str, number: int) -> Iterator[None]:
    """Kill the running daemon at that call of what the block asks of it, or when nothing more happens."""
    assert daemon.process is not None
    tracer = subprocess.Popen(
        ["strace", "-p", str(daemon.pid), *inject(call, number)], stderr=subprocess.PIPE, text=True
    )
    with tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        yield
        try:
            daemon.process.wait(QUIET_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.end(signal.SIGKILL)


def pins() -> list[str]:
    return sorted(
        re.sub(r"\d+", "ID", str(Path(pin).relative_to(BPFFS))) for pin in pin_tree() if not pin.endswith(".debug")
    )


def assert_next_start_converges(daemon: Daemon) -> None:
    daemon.start()
    wait_for(lambda: not daemon.call("Status")["status"]["degraded"], "all as wanted")
    assert pins() == IN_FORCE
    assert (OWN_PINS / f"tail/arrays_{tc_ids()[0]}").is_dir()
    assert xdp_id()
    daemon.configure()
    daemon.reload()
    assert (xdp_id(), tc_ids()) == (0, [])
    assert not OWN_PINS.exists()
    assert "Traceback" not in daemon.log()


@pytest.fixture
def objects(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "count.o", tmp_path / "tail.o"
    made[0].write_bytes((OBJECTS / "xdp_count.bpf.o").read_bytes())
    made[1].write_bytes((OBJECTS / "legacy_tail.bpf.o").read_bytes())
    return made


@pytest.mark.parametrize(("call", "number"), POINTS)
def test_kill_during_a_reload_loses_no_program_and_leaves_nothing(
    veth: Veth, daemon: Daemon, objects: tuple[Path, Path], call: str, number: int
) -> None:
    daemon.configure(xdp_entry(object=objects[0]), tail_entry(object=objects[1]))
    daemon.start()
    objects[0].write_bytes((OBJECTS / "xdp_count_v2.bpf.o").read_bytes())
    objects[1].write_bytes(objects[1].read_bytes() + b"\0")
    with killed_at(daemon, call, number):
        os.kill(daemon.pid, signal.SIGHUP)
    assert xdp_id()
    assert len(tc_ids()) == 1
    assert_next_start_converges(daemon)

"""A real daemon that is killed while it takes hooks on trial, or gives them back: all is as it was after a start."""

from contextlib import suppress
from typing import Any

import pytest

from tests.kernel.test_daemon_displaced import TAIL, age, attach_xdp, is_over
from tests.kernel.test_daemon_kill import killed_at
from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip
from xdploaderd.errors import LoaderError

pytestmark = pytest.mark.kernel

RUNTIME = {"name": "mine", "interface": "veth0", "hook": "tc-ingress", "protocol": "ip", "priority": 7, "handle": 3}
RUNTIME |= {"object": str(OBJECTS / "tc_count.bpf.o"), "program": "count_in"}
POINTS = [
    *(("apply", "bpf", number) for number in (30, 45, 60)),
    *(("apply", "sendto", number) for number in (4, 6, 8)),
    *(("apply", "rename", number) for number in (2, 4)),
    *(("roll-back", "bpf", number) for number in (15, 30, 45)),
    *(("roll-back", "sendto", number) for number in (3, 5, 8)),
    *(("roll-back", "rename", number) for number in (1, 3)),
    ("roll-back", "unlink", 2),
]


def ask(daemon: Daemon, method: str, **given: Any) -> None:
    with suppress(LoaderError):  # it dies meanwhile
        daemon.call(method, **given)


@pytest.mark.parametrize(("when", "call", "number"), POINTS)
def test_kill_around_a_trial_loses_neither_runtime_entries_nor_programs_of_others(
    veth: Veth, daemon: Daemon, when: str, call: str, number: int
) -> None:
    theirs = attach_xdp()
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.call("AttachObject", entry=RUNTIME)
    ours = tc_ids()
    daemon.configure(xdp_entry(mode="skb", force=True), {**TAIL, "name": "tail"})
    if when == "apply":
        with killed_at(daemon, call, number):
            ask(daemon, "Reload", confirm=600)
    else:
        daemon.call("Reload", confirm=600)
        with killed_at(daemon, call, number):
            ask(daemon, "RollBack")
    assert xdp_id()
    assert len(tc_ids()) == 1
    age(daemon)
    daemon.configure()  # where nothing was on disk of the trial yet, the files are what starts
    daemon.start()
    wait_for(lambda: is_over(daemon) and (xdp_id(), tc_ids()) == (theirs, ours), f"all is as it was: {daemon.log()}")
    wait_for(lambda: [path.name for path in OWN_PINS.iterdir()] == ["mine"], "no pins but those of the runtime entry")
    assert daemon.names() == ["mine"]
    assert daemon.call("Status")["status"]["lost"] == []
    ip("link", "set", "veth0", "xdpgeneric", "off")

"""A real daemon: limits and pinning are part of the configuration that is confirmed, and of what is rolled back."""

import shutil
import signal

import pytest

from tests.kernel.test_daemon_confirm import age
from tests.support.daemon import BPFFS, OBJECTS, Daemon, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth
from xdploaderd.errors import LimitError

pytestmark = pytest.mark.kernel
MANY = {
    "name": "many",
    "interface": "veth0",
    "hook": "tc-ingress",
    "object": str(OBJECTS / "std_sections.bpf.o"),
    "program": "cls_by_prefix",
}
FEW = {**MANY, "name": "few", "object": str(OBJECTS / "tc_count.bpf.o"), "program": "count_in"}


def configure(daemon: Daemon, directory: str, limits: str = "") -> None:
    """Write the same entry, with another directory for maps and other limits."""
    daemon.configure(xdp_entry())
    daemon.config.write_text(limits + daemon.config.read_text())
    daemon.pinning.write_text(f"by-name {directory}\n")


def is_in_force(daemon: Daemon, directory: str, *, narrow: bool) -> bool:
    """Load an object with a map pinned by name, and one with six programs; return whether both went by that."""
    daemon.call("AttachObject", entry=FEW)
    daemon.call("Detach", name="few")
    pins = [path for path in BPFFS.glob("*/*") if path.parent.name in ("old", "new") and path.name != "xdp_frames"]
    for path in pins:
        path.unlink()
    assert pins, "the object pins a map by name"
    try:
        daemon.call("AttachObject", entry=MANY)
    except LimitError:
        return narrow and {path.parent.name for path in pins} == {directory}
    daemon.call("Detach", name="many")
    return not narrow and {path.parent.name for path in pins} == {directory}


@pytest.mark.parametrize("ends", ["by itself", "at a start", "at a boot"])
def test_roll_back_is_one_of_limits_and_pinning_too(veth: Veth, daemon: Daemon, ends: str) -> None:
    configure(daemon, "old", "limits: {programs: 2}\n")
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the configuration is kept")
    before = xdp_id()
    configure(daemon, "new")
    daemon.call("Reload", confirm=600)
    assert is_in_force(daemon, "new", narrow=False)
    if ends == "by itself":
        daemon.call("RollBack")
    else:
        daemon.end(signal.SIGKILL)
        age(daemon, **({"deadline": 0} if ends == "at a start" else {"boot_id": "another"}))
    if ends == "at a boot":
        daemon.close_pins()
        shutil.rmtree(daemon.state)
    for _ in range(2):  # the files stay as they were rejected
        if daemon.process is None:
            daemon.start()
        assert "not confirmed" in daemon.call("Status")["status"]["config_error"]
        assert is_in_force(daemon, "old", narrow=True)
        assert xdp_id() == before
        daemon.end()


def test_confirmed_limits_and_pinning_stay(veth: Veth, daemon: Daemon) -> None:
    configure(daemon, "old", "limits: {programs: 2}\n")
    daemon.start()
    configure(daemon, "new")
    daemon.call("Reload", confirm=60)
    daemon.call("Confirm")
    daemon.end()
    daemon.start()
    assert not daemon.call("Status")["status"]["config_error"]
    assert is_in_force(daemon, "new", narrow=False)


@pytest.mark.parametrize("bad", ["config", "pinning"])
def test_bad_file_at_start_leaves_the_confirmed_limits_and_pinning(veth: Veth, daemon: Daemon, bad: str) -> None:
    configure(daemon, "old", "limits: {programs: 2}\n")
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the configuration is kept")
    before = xdp_id()
    daemon.end()
    configure(daemon, "new")
    path = {"config": daemon.config, "pinning": daemon.pinning}[bad]
    path.write_text("nonsense\n")
    daemon.start()
    assert str(path) in daemon.call("Status")["status"]["config_error"]
    assert is_in_force(daemon, "old", narrow=True)
    assert xdp_id() == before

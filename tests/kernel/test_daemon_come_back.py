"""A real daemon with runtime entries that give way to what is on trial: they come back with their programs."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_boot_id, read_state, write_state
from xdploaderd.errors import UsageError

pytestmark = pytest.mark.kernel
COUNT, COUNT_V2 = (str(OBJECTS / name) for name in ("xdp_count.bpf.o", "xdp_count_v2.bpf.o"))
ENTRY = {"interface": "veth0", "hook": "xdp", "object": COUNT}
OTHER = {"hook": "tc-ingress", "object": str(OBJECTS / "tc_count.bpf.o"), "program": "count_in"}


def is_over(daemon: Daemon) -> bool:
    status = daemon.call("Status")["status"]
    return not status["confirm_seconds"] and not (OWN_PINS / "_before").exists()


def age(daemon: Daemon, deadline: float) -> None:
    """Change the deadline of what waits, as it is written down."""
    for path, boot_id in ((daemon.data / "pending", ""), (daemon.state / "trial", read_boot_id())):
        if path.exists():
            write_state(path, {**read_state(path, boot_id=boot_id), "deadline": deadline}, boot_id=boot_id)


def by_itself(daemon: Daemon) -> None:
    daemon.call("Reload", confirm=1)


def by_request(daemon: Daemon) -> None:
    daemon.call("Reload", confirm=600)
    assert xdp_id()
    daemon.ctl("apply", "--rollback", status=3)  # what the files say is not in force


def by_restart(number: int) -> Callable[[Daemon], None]:
    def roll_back(daemon: Daemon) -> None:
        daemon.call("Reload", confirm=600)
        daemon.end(number)
        age(daemon, boot_clock() - 1)
        daemon.start()

    return roll_back


WAYS = {
    "by itself": by_itself,
    "by request": by_request,
    "by restart": by_restart(signal.SIGTERM),
    "by restart after a kill": by_restart(signal.SIGKILL),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "count.o"
    shutil.copy(COUNT, made)
    return made


def run_runtime_entry(daemon: Daemon, copy: Path) -> int:
    """Start with a runtime entry whose object is not what it was any more; return its program."""
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.call("AttachObject", entry={**ENTRY, "object": str(copy)})
    shutil.copy(COUNT_V2, copy)
    return xdp_id()


@pytest.mark.parametrize("way", WAYS)
def test_runtime_entry_that_gave_way_to_a_trial_comes_back(veth: Veth, daemon: Daemon, copy: Path, way: str) -> None:
    before = run_runtime_entry(daemon, copy)
    daemon.configure(xdp_entry("configured", object=COUNT_V2))
    WAYS[way](daemon)
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert daemon.names() == ["veth0-xdp"]
    assert daemon.attachment("veth0-xdp")["state"] == "attached"
    shutil.copy(COUNT, copy)
    daemon.end()
    daemon.start()
    assert (xdp_id(), daemon.names()) == (before, ["veth0-xdp"])


def test_trial_takes_the_hook_and_confirmed_keeps_it(veth: Veth, daemon: Daemon, copy: Path) -> None:
    before = run_runtime_entry(daemon, copy)
    daemon.configure(xdp_entry("configured", object=COUNT_V2))
    daemon.call("Reload", confirm=600)
    after = xdp_id()
    assert (after not in (0, before), daemon.names()) == (True, ["configured"])
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert (xdp_id(), daemon.names()) == (after, ["configured"])
    daemon.call("Confirm")
    daemon.configure()
    daemon.call("Reload")
    assert (xdp_id(), daemon.names(), is_over(daemon)) == (0, [], True)


@pytest.mark.parametrize("way", WAYS)
def test_runtime_entry_replaced_with_its_file_on_trial_is_what_it_was(
    veth: Veth, daemon: Daemon, copy: Path, way: str
) -> None:
    """A reload reads the objects of runtime entries anew as well."""
    before = run_runtime_entry(daemon, copy)
    WAYS[way](daemon)
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert daemon.names() == ["veth0-xdp"]


def test_name_of_what_comes_back_is_not_given_away(veth: Veth, daemon: Daemon, copy: Path) -> None:
    run_runtime_entry(daemon, copy)
    daemon.configure(xdp_entry("configured", object=COUNT_V2))
    daemon.call("Reload", confirm=600)
    with pytest.raises(UsageError, match="comes back unless"):
        daemon.call("AttachObject", entry={**ENTRY, "interface": "veth1", "name": "veth0-xdp"})
    daemon.call("AttachObject", entry={**ENTRY, **OTHER})
    daemon.call("RollBack")
    assert (sorted(daemon.names()), len(tc_ids())) == (["veth0-tc-ingress", "veth0-xdp"], 1)


def test_entry_detached_in_the_time_of_trial_stays_off(veth: Veth, daemon: Daemon, copy: Path) -> None:
    run_runtime_entry(daemon, copy)
    daemon.configure(xdp_entry("other", interface="veth7"))
    daemon.call("Reload", confirm=600)
    daemon.call("Detach", name="veth0-xdp")
    daemon.call("RollBack")
    assert (daemon.names(), xdp_id()) == ([], 0)


def test_nothing_to_roll_back_is_told(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(UsageError, match="no configuration waits"):
        daemon.call("RollBack")
    assert "audit: roll-back '' by uid 0, " in daemon.log()
    assert "contradict" in daemon.ctl("apply", "--rollback", "--confirm", "5s", status=64)


GLOB = {"name": "all", "match": "{name: 'veth*'}", "hook": "xdp", "object": COUNT, "program": "xdp_count"}


@pytest.mark.parametrize("restart", [False, True])
def test_interface_renamed_in_the_time_of_trial_gets_the_same_program_back(
    veth: Veth, daemon: Daemon, copy: Path, *, restart: bool
) -> None:
    daemon.configure({**GLOB, "object": copy})
    daemon.start()
    before = xdp_id()
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    daemon.call("Reload", confirm=600)
    assert xdp_id() not in (0, before)
    ip("link", "set", "veth0", "name", "veth7")
    try:
        wait_for(lambda: daemon.names() == ["all@veth7"], "followed")
        if restart:
            daemon.end()
            daemon.start()
        daemon.call("RollBack")
        assert xdp_id("veth7") == before
    finally:
        ip("link", "set", "veth7", "name", "veth0")


def test_glob_that_gave_way_to_an_attach_on_trial_comes_back(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(GLOB)
    daemon.start()
    before = xdp_id()
    daemon.call("AttachObject", entry={**ENTRY, "object": COUNT_V2}, confirm=600)
    assert xdp_id() not in (0, before)
    daemon.call("RollBack")
    assert (xdp_id(), daemon.names(), is_over(daemon)) == (before, ["all@veth0"], True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_runtime_entry_detached_on_trial_takes_its_hook_from_the_glob_again(
    veth: Veth, daemon: Daemon, number: int
) -> None:
    daemon.configure({**GLOB, "object": COUNT_V2})
    daemon.start()
    daemon.call("AttachObject", entry=ENTRY)
    before = xdp_id()
    daemon.call("Detach", name="veth0-xdp", confirm=600)
    assert (xdp_id() not in (0, before), daemon.names()) == (True, ["all@veth0"])
    daemon.end(number)
    age(daemon, boot_clock() - 1)
    daemon.start()
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert daemon.attachment("veth0-xdp")["state"] == "attached"

"""A real daemon that takes a hook from others on trial: their program comes back, as it was, judged by ip and tc."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip, tc
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_boot_id, read_state, write_state

pytestmark = pytest.mark.kernel
COUNT = str(OBJECTS / "xdp_count.bpf.o")
THEIRS = str(OBJECTS / "xdp_count_v2.bpf.o")
THEIR_PIN = "/sys/fs/bpf/theirs"
REDIRECT = ("action", "mirred", "egress", "redirect", "dev", "lo")


def load(object_path: str, kind: str) -> None:
    """Load somebody else's program, unpinned once it is attached."""
    subprocess.run(["bpftool", "prog", "loadall", object_path, THEIR_PIN, "type", kind], check=True)


@pytest.fixture
def theirs() -> Iterator[None]:
    """Programs pinned in a directory of somebody else."""
    yield
    subprocess.run(["rm", "-r", THEIR_PIN], check=False, capture_output=True)


def attach_xdp(mode: str = "xdpgeneric") -> int:
    load(THEIRS, "xdp")
    ip("link", "set", "veth0", mode, "pinned", f"{THEIR_PIN}/xdp_count")
    subprocess.run(["rm", "-r", THEIR_PIN], check=True)  # the hook alone holds it now
    return xdp_id()


def attach_tc(*more: str) -> None:
    load(str(OBJECTS / "tc_count.bpf.o"), "classifier")
    tc("qdisc", "add", "dev", "veth0", "clsact")
    how = ("pref", "7", "handle", "3", "bpf", "pinned", f"{THEIR_PIN}/count_in", *more)
    tc("filter", "add", "dev", "veth0", "ingress", "protocol", "ip", *how)
    subprocess.run(["rm", "-r", THEIR_PIN], check=True)


def filters() -> list[dict[str, Any]]:
    """Return the filters as tc(8) shows them."""
    shown = json.loads(tc("-j", "filter", "show", "dev", "veth0", "ingress") or "[]")
    return [one for one in shown if one.get("options", {}).get("prog")]


def link() -> dict[str, Any]:
    """Return how XDP of the interface is shown by ip(8)."""
    return dict(json.loads(ip("-j", "link", "show", "veth0"))[0].get("xdp", {}))


def age(daemon: Daemon) -> None:
    """Let the time of what waits be over, as it is written down."""
    for path, boot_id in ((daemon.data / "pending", ""), (daemon.state / "trial", read_boot_id())):
        if path.exists():
            values = {**read_state(path, boot_id=boot_id), "deadline": boot_clock() - 1}
            write_state(path, values, boot_id=boot_id)


def is_over(daemon: Daemon) -> bool:
    status = daemon.call("Status")["status"]
    return not status["confirm_seconds"] and not (OWN_PINS / "_before").exists()


def in_time(daemon: Daemon) -> None:
    daemon.call("RollBack")


def restarted(number: int) -> Callable[[Daemon], None]:
    def restart(daemon: Daemon) -> None:
        daemon.end(number)
        age(daemon)
        daemon.start()

    return restart


WAYS = {"by request": in_time, "by restart": restarted(signal.SIGTERM), "after a kill": restarted(signal.SIGKILL)}
TAIL = tail_entry("mine", priority=7, handle=3, protocol="ip", force=True)
FORCED = {"interface": "veth0", "hook": "xdp", "object": COUNT, "mode": "skb"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("theirs")
def test_xdp_program_of_others_that_an_attach_on_trial_replaced_comes_back(
    veth: Veth, daemon: Daemon, way: str
) -> None:
    before = attach_xdp()
    shown = link()
    daemon.start()
    daemon.call("AttachObject", entry=FORCED, force=True, confirm=600)
    assert xdp_id() not in (0, before)
    assert (OWN_PINS / "_before/_foreign" / str(before)).exists()
    WAYS[way](daemon)
    wait_for(lambda: is_over(daemon), "rolled back")
    assert (link(), daemon.names()) == (shown, [])
    assert "put back program" in daemon.log()
    assert "audit: roll-back 'veth0-xdp'" in daemon.log()
    ip("link", "set", "veth0", "xdpgeneric", "off")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("theirs")
def test_filter_of_others_that_a_configuration_on_trial_replaced_comes_back_as_it_was(
    veth: Veth, daemon: Daemon, way: str
) -> None:
    attach_tc("da", "classid", "1:5")
    (shown,) = filters()
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.configure(TAIL)
    daemon.call("Reload", confirm=600)
    (ours,) = filters()
    assert ours["options"]["prog"]["id"] != shown["options"]["prog"]["id"]
    WAYS[way](daemon)
    wait_for(lambda: is_over(daemon), "rolled back")
    wait_for(lambda: not OWN_PINS.exists() or not any(OWN_PINS.iterdir()), "nothing of ours is left")
    assert filters() == [shown]
    assert daemon.names() == []


@pytest.mark.usefixtures("theirs")
def test_filter_of_others_without_direct_action_comes_back_without_it(veth: Veth, daemon: Daemon) -> None:
    attach_tc("classid", "1:5")
    (shown,) = filters()
    assert not shown["options"].get("direct-action")
    daemon.start()
    daemon.call(
        "AttachObject",
        entry={key: str(value) for key, value in TAIL.items() if key != "force"} | {"priority": 7, "handle": 3},
        force=True,
        confirm=600,
    )
    daemon.call("RollBack")
    assert filters() == [shown]


@pytest.mark.usefixtures("theirs")
def test_program_of_others_stays_away_once_it_is_confirmed(veth: Veth, daemon: Daemon) -> None:
    before = attach_xdp()
    daemon.start()
    daemon.call("AttachObject", entry=FORCED, force=True, confirm=600)
    daemon.call("Confirm")
    after = xdp_id()
    assert (after not in (0, before), is_over(daemon)) == (True, True)
    shown = subprocess.run(["bpftool", "prog", "show", "id", str(before)], check=False, capture_output=True)
    assert shown.returncode != 0


@pytest.mark.usefixtures("theirs")
def test_program_of_others_in_another_mode_comes_back_in_it(veth: Veth, daemon: Daemon) -> None:
    attach_xdp("xdpgeneric")
    shown = link()
    daemon.start()
    daemon.configure(xdp_entry("mine", mode="native", force=True, allow_gap=True))
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.call("Reload", confirm=600)
    assert link()["mode"] != shown["mode"]
    daemon.call("RollBack")
    assert link() == shown
    ip("link", "set", "veth0", "xdpgeneric", "off")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (("pinned", f"{THEIR_PIN}/count_in", *REDIRECT), "the filter has actions or flags of its own"),
        (("bytecode", "1,6 0 0 4294967295"), "the kernel does not hand out classic BPF"),
    ],
)
@pytest.mark.usefixtures("theirs")
def test_what_cannot_be_put_back_is_told_in_status_and_audit(
    veth: Veth, daemon: Daemon, how: tuple[str, ...], why: str
) -> None:
    tc("qdisc", "add", "dev", "veth0", "clsact")
    load(str(OBJECTS / "tc_count.bpf.o"), "classifier")
    tc("filter", "add", "dev", "veth0", "ingress", "protocol", "ip", "pref", "7", "handle", "3", "bpf", *how)
    subprocess.run(["rm", "-r", THEIR_PIN], check=True)
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.configure(TAIL)
    status = daemon.call("Reload", confirm=600)["status"]
    assert f"cannot be put back: {why}" in status["lost"][0]
    status = daemon.call("RollBack")["status"]
    assert (status["degraded"], filters()) == (True, [])
    assert f"cannot be put back: {why}" in daemon.log().split("audit: roll-back ''")[1]
    assert "lost: program" in daemon.ctl("status", status=3)
    daemon.configure()
    assert daemon.call("Reload")["status"]["lost"] == []


@pytest.mark.usefixtures("theirs")
def test_place_that_others_took_meanwhile_is_theirs(veth: Veth, daemon: Daemon) -> None:
    attach_xdp()
    daemon.start()
    daemon.call("AttachObject", entry=FORCED, force=True, confirm=600)
    ip("link", "set", "veth0", "xdpgeneric", "off")
    newer = attach_xdp()
    status = daemon.call("RollBack")["status"]
    assert (xdp_id(), "taken by program" in status["lost"][0]) == (newer, True)
    ip("link", "set", "veth0", "xdpgeneric", "off")


@pytest.mark.usefixtures("theirs")
def test_interface_made_anew_meanwhile_gets_nothing(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    attach_xdp()
    daemon.start()
    daemon.call("AttachObject", entry=FORCED, force=True, confirm=600)
    ip("link", "del", "veth0")
    status = daemon.call("RollBack")["status"]
    assert (status["lost"], is_over(daemon)) == ([], True)


def test_entry_of_ours_that_gives_way_on_trial_is_kept_once(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry("old"))
    daemon.start()
    before = xdp_id()
    daemon.configure(xdp_entry("new", object=THEIRS))
    daemon.call("Reload", confirm=60)
    assert xdp_id() not in (0, before)
    assert (OWN_PINS / "_before" / "old" / "prog").exists()
    assert not (OWN_PINS / "_before" / "_foreign").exists()
    daemon.call("RollBack")
    assert xdp_id() == before

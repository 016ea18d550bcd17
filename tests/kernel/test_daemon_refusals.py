"""A real daemon: what it refuses, what it holds, and what it tells about it."""

import os
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip, tc
from xdploaderd.errors import HookBusyError, NoSuchAttachmentError

pytestmark = pytest.mark.kernel


def put_foreign(interface: str = "veth0", mode: str = "xdpdrv") -> None:
    """Let ip(8) attach a program of its own."""
    ip("link", "set", interface, mode, "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")


def test_detach_holds_over_reload_and_restart_until_attach(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    assert daemon.call("Detach", name="edge")["attachment"]["state"] == "detached"
    assert not xdp_id()
    assert not (OWN_PINS / "edge").exists()
    daemon.reload()
    daemon.end()
    daemon.start()
    assert not xdp_id()
    assert len(tc_ids()) == 1
    assert not daemon.call("Status")["status"]["degraded"]
    assert daemon.call("Attach", name="edge")["attachment"]["state"] == "attached"
    assert xdp_id()
    with pytest.raises(NoSuchAttachmentError):
        daemon.call("Detach", name="nothing")


def test_second_daemon_is_refused_and_told_the_pid(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    second = daemon.run()
    assert second.returncode == 75
    assert f"locked by process {daemon.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert xdp_id() == before
    assert daemon.attachment("edge")["state"] == "attached"


def test_second_daemon_with_other_state_but_the_same_pins_is_refused(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    daemon.configure()  # it would take every pin for that of an entry that is gone
    second = daemon.run("--state-dir", str(daemon.directory / "other"))
    assert second.returncode == 75
    assert f"below '{OWN_PINS.parent}'" in second.stderr
    assert "Traceback" not in second.stderr
    assert xdp_id() == before


def test_foreign_xdp_program_is_left_alone_without_force(veth: Veth, daemon: Daemon) -> None:
    put_foreign()
    foreign = xdp_id()
    daemon.configure(xdp_entry())
    daemon.start()
    found = daemon.attachment("edge")
    assert (found["state"], found["error_code"]) == ("foreign", "HookBusy")
    assert f"prog {foreign}" in found["reason"] or f"program {foreign}" in found["reason"]
    assert "xdp_pass" in found["reason"]
    with pytest.raises(HookBusyError) as busy:
        daemon.call("Attach", name="edge")
    assert busy.value.fields["prog_id"] == foreign
    assert xdp_id() == foreign
    assert not OWN_PINS.exists()
    daemon.configure(xdp_entry(force=True))
    daemon.reload()
    assert xdp_id() not in (0, foreign)
    assert daemon.attachment("edge")["state"] == "attached"


def test_foreign_filter_in_the_place_is_left_alone_without_force(veth: Veth, daemon: Daemon) -> None:
    command = ["filter", "add", "dev", "veth0", "ingress", "prio", "1", "handle", "1", "bpf", "da"]
    tc("qdisc", "add", "dev", "veth0", "clsact")
    tc(*command, "obj", str(OBJECTS / "tc_count.bpf.o"), "sec", "tc")
    (foreign,) = tc_ids()
    daemon.configure(tail_entry())
    daemon.start()
    assert daemon.attachment("tail")["state"] == "foreign"
    assert tc_ids() == [foreign]
    daemon.configure(tail_entry(priority=2))
    daemon.reload()
    assert daemon.attachment("tail")["state"] == "attached"
    assert len(tc_ids()) == 2


def test_program_that_somebody_put_in_our_place_is_left_alone(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    ip("-force", "link", "set", "veth0", "xdpdrv", "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")
    foreign = xdp_id()
    wait_for(lambda: daemon.attachment("edge")["state"] == "foreign", "foreign")
    daemon.configure()
    daemon.reload()
    assert xdp_id() == foreign
    assert not OWN_PINS.exists()


def test_f44_change_of_mode_is_refused_and_done_with_allow_gap(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(mode="native"))
    daemon.start()
    before = xdp_id()
    daemon.configure(xdp_entry(mode="skb"))
    daemon.reload()
    status = daemon.call("Status")["status"]
    assert "without a program" in status["config_error"]
    assert (status["attachments"][0]["state"], status["attachments"][0]["actual_mode"]) == ("attached", "native")
    assert xdp_id() == before
    found = daemon.call("Reload", partial=True)["status"]["attachments"][0]
    assert (found["state"], found["actual_mode"]) == ("failed", "native")
    daemon.configure(xdp_entry(mode="skb", allow_gap=True))
    daemon.reload()
    found = daemon.attachment("edge")
    assert (found["state"], found["actual_mode"]) == ("attached", "skb")


def test_bad_configuration_is_refused_at_start_and_keeps_the_last_good_one_at_reload(
    veth: Veth, daemon: Daemon
) -> None:
    daemon.config.write_text("attachments: [{name: edge}]\n")
    refused = daemon.run()
    assert refused.returncode == 78
    assert f"{daemon.config}:1:" in refused.stderr
    daemon.configure(xdp_entry())
    daemon.start()
    for file in (daemon.config, daemon.pinning):
        good = file.read_text()
        file.write_text("nonsense\n")
        daemon.reload()
        status = daemon.call("Status")["status"]
        assert status["degraded"]
        assert str(file) in status["config_error"]
        assert status["attachments"][0]["state"] == "attached"
        file.write_text(good)
    daemon.reload()
    assert not daemon.call("Status")["status"]["degraded"]


def test_plan_tells_what_reload_would_do_and_does_nothing(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    daemon.configure(tail_entry(), xdp_entry("later", interface="nowhere0"))
    actions = daemon.call("Plan")["actions"]
    assert [(a["action"], a["name"]) for a in actions] == [("attach", "tail"), ("wait", "later"), ("detach", "edge")]
    assert xdp_id() == before


def test_check_tells_of_each_entry_and_loads_nothing(daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(
        xdp_entry(),
        tail_entry(program="nope"),
        xdp_entry("gone", hook="xdp", interface="eth9", object=tmp_path / "no.o"),
    )
    checked = daemon.run("--check")
    assert checked.returncode == 65
    assert "edge: ok" in checked.stdout
    assert "attachment 'tail'" in checked.stdout
    assert "no.o" in checked.stdout
    assert not daemon.state.exists()


def test_stale_state_of_another_boot_costs_one_replace(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    daemon.end()
    os.unlink(daemon.state / "records")
    daemon.start()
    assert xdp_id() not in (0, before)
    assert daemon.attachment("edge")["state"] == "attached"

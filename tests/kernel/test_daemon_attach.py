"""A real daemon: what it attaches, how that outlives it, and what the next one makes of it."""

import errno
import signal
import time
from pathlib import Path

import pytest

from tests.campaigns.seams import Call, Seams
from tests.support.daemon import (
    BPFFS,
    OBJECTS,
    OWN_PINS,
    SLOWNESS,
    Daemon,
    counters,
    data_of,
    tail_entry,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
)
from tests.support.in_process import Outside, in_process
from tests.support.netns import Veth, add_veth, ip, tc
from xdploaderd.daemon.options import parse_options

pytestmark = pytest.mark.kernel


def test_programs_of_both_dialects_are_attached_and_count(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    veth.send_in(5)
    wait_for(lambda: counters("tc/globals/tail_hits") == [5, 5], "five frames and five tail calls")
    assert sum(counters("xdp_frames")) == 5
    edge, tail = daemon.attachment("edge"), daemon.attachment("tail")
    assert (edge["state"], edge["dialect"], edge["prog_id"]) == ("attached", "standard", xdp_id())
    assert (tail["state"], tail["dialect"], tail["prog_id"]) == ("attached", "legacy", tc_ids()[0])
    assert str(OWN_PINS / "edge/prog") in edge["pins"]
    assert tail["why"] == "section 'maps' holds map definitions; read as struct bpf_elf_map (iproute2)"
    assert len(tail["pins"]) == 2
    assert OWN_PINS.stat().st_mode & 0o777 == 0o700


def test_interface_made_anew_gets_its_programs_again(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    before = xdp_id(), tc_ids()
    ip("link", "del", "veth0")
    wait_for(lambda: daemon.attachment("edge")["state"] == "waiting", "waiting")
    add_veth(veth.name, veth.peer, veth.namespace)
    made = time.monotonic()
    wait_for(lambda: (xdp_id(), tc_ids()) == before, "the same programs again")
    assert time.monotonic() - made < 2 * SLOWNESS
    veth.send_in(3)
    wait_for(lambda: counters("tc/globals/tail_hits") == [3, 3], "three frames and three tail calls")


def test_killed_daemon_leaves_all_running_and_the_next_one_adopts_it(
    veth: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    before = xdp_id(), tc_ids()
    daemon.end(signal.SIGKILL)
    veth.send_in(4)
    wait_for(lambda: counters("tc/globals/tail_hits") == [4, 4], "tail calls without a daemon")
    changes = daemon.changes()
    trace = tmp_path / "trace"
    daemon.start(prefix=("strace", "-f", "-o", str(trace), "-e", "trace=bpf,sendto,sendmsg,rename,mkdir,unlink"))
    assert (xdp_id(), tc_ids()) == before
    assert daemon.changes() == changes
    assert daemon.attachment("tail")["state"] == "attached"
    calls = trace.read_text()
    assert "BPF_OBJ_GET" in calls
    for write in (
        "PROG_LOAD",
        "MAP_CREATE",
        "MAP_UPDATE",
        "OBJ_PIN",
        "RTM_SETLINK",
        "RTM_NEWTFILTER",
    ):
        assert write not in calls


def test_stop_leaves_programs_attached_and_ends_with_status_0(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    assert daemon.end() == 0
    assert xdp_id() == before
    assert not (daemon.state / "control").exists()


def test_removed_entry_is_detached_on_reload_and_at_start(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    daemon.configure(xdp_entry())
    daemon.reload()
    assert tc_ids() == []
    assert "clsact" not in tc("qdisc", "show", "dev", "veth0")
    assert not (OWN_PINS / "tail").exists()
    assert xdp_id()
    daemon.end()
    daemon.configure()
    daemon.orphan_grace = 0
    daemon.start()
    assert not xdp_id()
    assert not OWN_PINS.exists()


def test_changed_object_replaces_the_program_and_keeps_pinned_maps(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    copy = tmp_path / "count.o"
    copy.write_bytes((OBJECTS / "xdp_count.bpf.o").read_bytes())
    daemon.configure(xdp_entry(object=copy))
    daemon.start()
    first = xdp_id()
    veth.send_in(2)
    daemon.reload()
    assert xdp_id() == first
    copy.write_bytes((OBJECTS / "xdp_count_v2.bpf.o").read_bytes())
    daemon.reload()
    assert xdp_id() not in (0, first)
    assert sum(counters("xdp_frames")) >= 2
    assert [entry.name for entry in (OWN_PINS / "edge").iterdir()] == ["prog"]


def test_changed_values_of_an_entry_load_its_program_anew_with_them(veth: Veth, daemon: Daemon) -> None:
    entry = tail_entry(object=OBJECTS / "std_globals.bpf.o", program="globals")
    daemon.configure({**entry, "globals": "{start: 7}"})
    daemon.start()
    (first,) = tc_ids()
    assert data_of(first)["start"] == 7
    daemon.configure({**entry, "globals": "{start: 0x10}"})
    daemon.reload()
    (second,) = tc_ids()
    assert second != first
    assert data_of(second)["start"] == 16
    daemon.configure({**entry, "globals": "{strat: 7}"})
    daemon.reload()
    assert tc_ids() == [second]
    assert "did you mean 'start'" in daemon.call("Status")["status"]["config_error"]


def test_renamed_interface_loses_the_program(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    ip("link", "set", "veth0", "down")
    ip("link", "set", "veth0", "name", "other0")
    try:
        wait_for(lambda: not xdp_id("other0"), "the program is off")
        wait_for(lambda: daemon.attachment("edge")["state"] == "waiting", "the pass that took it off has ended")
    finally:
        ip("link", "set", "other0", "name", "veth0")
    wait_for(xdp_id, "the program is on again")


def test_filter_that_could_not_be_taken_off_a_renamed_interface_goes_later(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry())
    seams = Seams()
    outside = Outside(open_rtnl=seams.rtnl)
    ip("link", "set", "veth0", "down")
    with seams.installed(), in_process(parse_options(daemon.command()[3:]), outside) as process:
        ip("link", "set", "veth0", "name", "other0")
        try:
            with seams.watched({Call("rtnl del-filter", 1): errno.EPERM}):
                process.ask(process.reconciler.settled())
            assert seams.failed
            assert tc_ids("other0")
            process.reconciler.forgive()
            process.ask(process.reconciler.settled())
            assert not tc_ids("other0")
        finally:
            ip("link", "set", "other0", "name", "veth0")


def test_entry_that_the_kernel_refuses_does_not_stop_the_others(veth: Veth, daemon: Daemon) -> None:
    bad = tail_entry("bad", hook="tc-egress", object=OBJECTS / "reject.bpf.o", program="bad")
    daemon.configure(bad, xdp_entry())
    daemon.start()
    assert xdp_id()
    status = daemon.call("Status")["status"]
    states = {a["name"]: (a["state"], a["error_code"]) for a in status["attachments"]}
    assert states == {"bad": ("failed", "VerifierRejected"), "edge": ("attached", "")}
    assert status["degraded"]
    assert not (OWN_PINS / "bad").exists()
    assert sorted(p.name for p in BPFFS.iterdir() if p.suffix != ".debug") == ["xdp_frames", "xdploaderd"]

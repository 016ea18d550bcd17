"""A real daemon that reloads: all of a configuration comes into force, or nothing of it is changed (F19, G10)."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import tracing
from tests.campaigns.bad_entry import KINDS, bad_entry, entries, world
from tests.support.daemon import (
    BPFFS,
    OBJECTS,
    Daemon,
    counters,
    tail_entry,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
    xdp_ids,
)
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import Veth
from xdploaderd.errors import AttachError, LoaderError

pytestmark = pytest.mark.kernel

COUNT = 5  # of entries in the bounded form of F19; the bad one is the first, the middle one and the last


@pytest.mark.parametrize("position", [0, COUNT // 2, COUNT])
def test_g10_f19_one_bad_entry_changes_nothing(veths: Veth, daemon: Daemon, tmp_path: Path, position: int) -> None:
    daemon.configure(*entries(COUNT))
    daemon.start()
    for kind in KINDS:
        changed = entries(COUNT)
        changed[0]["object"] = OBJECTS / "xdp_count_v2.bpf.o"  # a change that must not be made either
        changed.insert(position, bad_entry(kind, tmp_path))
        before, changes = world(), kernel_changes(daemon)
        daemon.configure(*changed)
        with pytest.raises(LoaderError, match=r"bad|a/b|fast"):
            daemon.call("Reload")
        assert (kind, world(), kernel_changes(daemon)) == (kind, before, changes)
        status = daemon.call("Status")["status"]
        assert status["degraded"]
        assert status["config_error"]
        assert {a["state"] for a in status["attachments"]} == {"attached"}
        assert "bad" not in daemon.names()
    assert_partial_applies_the_rest(daemon)


def kernel_changes(daemon: Daemon) -> list[str]:
    return [line for line in daemon.changes() if "audit:" not in line]


def assert_partial_applies_the_rest(daemon: Daemon) -> None:
    before = xdp_id()
    status = daemon.call("Reload", partial=True)["status"]
    assert {a["name"]: a["state"] for a in status["attachments"]}["bad"] == "foreign"
    assert xdp_id() not in (0, before)
    assert not status["config_error"]


@pytest.mark.parametrize("confirm", [0, 60])
def test_f19_program_that_the_driver_refuses_undoes_what_was_attached_before_it(
    veths: Veth, daemon: Daemon, confirm: int
) -> None:
    daemon.configure(xdp_entry(), tail_entry("one"), tail_entry("gone", interface="veth8"))
    daemon.start()
    before = world()
    daemon.configure(
        xdp_entry(object=OBJECTS / "xdp_count_v2.bpf.o"),
        tail_entry("one", object=OBJECTS / "tc_count.bpf.o", program="count_in"),
        tail_entry("new", hook="tc-egress"),
        xdp_entry("last", interface="veth8", mode="offload"),
    )
    with pytest.raises(AttachError, match="attachment 'last': interface 'veth8': offload mode"):
        daemon.call("Reload", confirm=confirm)
    assert world() == before
    status = daemon.call("Status")["status"]
    assert ([a["name"] for a in status["attachments"]], status["confirm_seconds"]) == (["edge", "one", "gone"], 0)
    assert "offload mode" in status["config_error"]
    assert daemon.call("Reload", partial=True)["status"]["degraded"]
    assert (len(tc_ids(direction="egress")), tc_ids("veth8")) == (1, [])


@pytest.mark.parametrize("kind", ["netlink", "link"])
def test_entries_that_exchange_their_interfaces_take_their_programs_along(
    veths: Veth, daemon: Daemon, kind: str
) -> None:
    def configure(first: str, second: str) -> None:
        other = {"object": OBJECTS / "stamp.bpf.o", "program": "stamp_xdp"}
        daemon.configure(
            xdp_entry("one", interface=first, attach=kind), xdp_entry("two", interface=second, attach=kind, **other)
        )

    configure("veth0", "veth8")
    daemon.start()
    ids = xdp_ids()
    exchanged = {"veth0": ids["veth8"], "veth8": ids["veth0"]}
    configure("veth8", "veth0")
    assert [action["action"] for action in daemon.call("Plan")["actions"]] == ["replace", "replace"]
    daemon.call("Reload", confirm=60)
    assert xdp_ids() == exchanged
    daemon.call("RollBack")
    assert xdp_ids() == ids
    daemon.call("Reload")
    daemon.end()
    daemon.start()
    assert (xdp_ids(), daemon.call("Status")["status"]["degraded"]) == (exchanged, False)


def test_reload_counts_on_through_a_change_of_everything(veths: Veth, daemon: Daemon, tmp_path: Path) -> None:
    copy = tmp_path / "count.o"
    shutil.copy(OBJECTS / "xdp_count.bpf.o", copy)
    daemon.configure(xdp_entry(object=copy), tail_entry(), xdp_entry("gone", interface="veth8"))
    daemon.start()
    first = xdp_id()
    veths.send_in(2)
    wait_for(lambda: sum(counters("xdp_frames")) == 2, "two frames")
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    daemon.configure(tail_entry("moved"), xdp_entry(object=copy), tail_entry("more", interface="veth8"))
    planned = daemon.call("Plan")["actions"]
    status = daemon.call("Reload")["status"]
    assert not status["degraded"]
    assert [(a["action"], a["name"]) for a in planned] == [
        ("replace", "moved"),
        ("replace", "edge"),
        ("attach", "more"),
        ("detach", "gone"),
    ]
    assert xdp_id() not in (0, first)
    assert (xdp_id("veth8"), len(tc_ids()), len(tc_ids("veth8"))) == (0, 1, 1)
    assert sorted(path.name for path in (BPFFS / "xdploaderd").iterdir()) == ["edge", "more", "moved"]
    assert daemon.call("Plan")["actions"] == []


def test_entry_that_failed_before_does_not_keep_others_from_a_reload(
    veths: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    bad = bad_entry("file", tmp_path)
    daemon.configure(bad)
    daemon.start()
    daemon.configure(bad, xdp_entry())
    status = daemon.call("Reload")["status"]
    assert not status["config_error"]
    assert {a["name"]: a["state"] for a in status["attachments"]} == {"bad": "failed", "edge": "attached"}


def traced(daemon: Daemon, trace: Path, work: Mapping[str, Any]) -> list[str]:
    with tracing.traced(daemon.pid, to_file(trace)):
        daemon.call(**work)
    return kernel_writes(trace)


def test_g10_reload_without_a_change_writes_nothing_to_the_kernel(veths: Veth, daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(*entries(COUNT), xdp_entry("one", interface="veth8", maps="shared"))
    daemon.start()
    daemon.end()
    daemon.start()  # one that has prepared nothing yet
    assert traced(daemon, tmp_path / "trace", {"method": "Reload"}) == []
    daemon.configure(*entries(COUNT))
    assert traced(daemon, tmp_path / "trace2", {"method": "Reload"}) != []

"""A real daemon that loads one program once for several interfaces (`maps: shared`), with an entry for each of them."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip

pytestmark = pytest.mark.kernel


def entries(**fields: object) -> tuple[dict[str, object], dict[str, object]]:
    return xdp_entry("one", **fields), xdp_entry("two", interface="veth8", **fields)


def test_shared_entries_have_one_program_and_others_one_each(veths: Veth, daemon: Daemon) -> None:
    daemon.configure(*entries(maps="shared"))
    daemon.start()
    assert xdp_id() == xdp_id("veth8") != 0
    assert daemon.attachment("two")["interface"] == "veth8"
    assert daemon.attachment("two")["ifindex"] != daemon.attachment("one")["ifindex"]
    daemon.configure(*entries())
    daemon.reload()
    assert len({xdp_id(), xdp_id("veth8"), 0}) == 3
    assert not daemon.call("Status")["status"]["degraded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_f4_restart_adopts_a_shared_load(veths: Veth, daemon: Daemon, number: int) -> None:
    daemon.configure(*entries(maps="shared"))
    daemon.start()
    before = xdp_id()
    changes = daemon.changes()
    daemon.end(number)
    daemon.start()
    assert (xdp_id(), xdp_id("veth8")) == (before, before)
    assert daemon.changes() == changes


def test_entry_that_goes_leaves_the_shared_program_on_the_other_interface(veths: Veth, daemon: Daemon) -> None:
    daemon.configure(*entries(maps="shared"))
    daemon.start()
    before = xdp_id()
    daemon.configure(entries(maps="shared")[1])
    daemon.reload()
    assert (xdp_id(), xdp_id("veth8")) == (0, before)
    assert not (OWN_PINS / "one").exists()
    daemon.call("Detach", name="two")
    assert not xdp_id("veth8")


def test_changed_object_is_loaded_once_for_all_that_share_it(veths: Veth, daemon: Daemon, tmp_path: Path) -> None:
    copy = tmp_path / "count.o"
    shutil.copy(OBJECTS / "xdp_count.bpf.o", copy)
    daemon.configure(*entries(maps="shared", object=copy))
    daemon.start()
    before = xdp_id()
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    daemon.reload()
    assert xdp_id() == xdp_id("veth8") not in (0, before)


def test_interface_made_anew_gets_the_shared_program_although_its_file_changed(
    veths: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    copy = tmp_path / "count.o"
    shutil.copy(OBJECTS / "xdp_count.bpf.o", copy)
    later = xdp_entry("later", interface="late0", maps="shared", object=copy)
    daemon.configure(*entries(maps="shared", object=copy), later)
    daemon.start()
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
    wait_for(lambda: daemon.attachment("later")["state"] == "attached", "attached")
    assert xdp_id("late0") == xdp_id()
    ip("link", "del", "late0")


def test_shared_program_without_records_is_replaced_with_no_interface_left_bare(veths: Veth, daemon: Daemon) -> None:
    daemon.configure(*entries(maps="shared"))
    daemon.start()
    before = xdp_id()
    daemon.end()
    (daemon.state / "records").unlink()
    daemon.start()
    assert xdp_id() == xdp_id("veth8") not in (0, before)
    assert "detached" not in daemon.log()


def test_shared_tail_calls_survive_the_entry_that_loaded_them(veths: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry("one", maps="shared"), tail_entry("two", interface="veth8", maps="shared"))
    daemon.start()
    (number,) = tc_ids("veth8")
    assert tc_ids() == [number]
    assert (OWN_PINS / f"two/arrays_{number}/jmp").exists()
    daemon.configure(tail_entry("two", interface="veth8", maps="shared"))
    daemon.reload()
    assert (tc_ids(), tc_ids("veth8")) == ([], [number])
    assert (OWN_PINS / f"two/arrays_{number}/jmp").exists()


@pytest.mark.parametrize("again", [False, True], ids=["goes", "is for another hook"])
def test_entry_whose_program_others_took_off_leaves_it_to_the_one_that_has_its_place(
    veths: Veth, daemon: Daemon, *, again: bool
) -> None:
    glob = {**xdp_entry("all", maps="shared"), "match": {"name": "veth*"}}
    del glob["interface"]
    daemon.configure(glob, xdp_entry("one", maps="shared"))
    daemon.start()
    before = xdp_id()
    ip("link", "set", "veth0", "xdp", "off")
    wait_for(lambda: daemon.attachment("one")["state"] == "foreign", "reported")
    daemon.end()
    daemon.configure(glob, *([tail_entry("one", maps="shared")] if again else ()))
    daemon.orphan_grace = 60
    daemon.start()
    daemon.call("Sweep")
    states = {one["name"]: one["state"] for one in daemon.call("Status")["status"]["attachments"]}
    assert states == {"all@veth0": "attached", "all@veth8": "attached"} | ({"one": "attached"} if again else {})
    assert (xdp_id(), xdp_id("veth8")) == (before, before)

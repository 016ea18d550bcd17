"""What a daemon loads is what it read at its last start or reload, whatever becomes of the files meanwhile."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.changing_object import COUNT, COUNT_BY_1000, copies, counted, every, served, state
from tests.support.daemon import BPFFS, OBJECTS, OWN_PINS, Daemon, tail_entry, wait_for, xdp_entry, xdp_id
from tests.support.in_process import in_process
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import Veth, add_veth, ip
from tests.support.old_kernel import NEEDS_BLOOM_FILTER
from tests.support.tools import bpftool_json
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.wanted import object_file
from xdploaderd.limits import Limits

pytestmark = pytest.mark.kernel

CHANGED = "changed on disk"


@pytest.mark.parametrize("maps", ["per-interface", "shared"])
def test_new_interface_gets_what_was_read_at_the_start_until_a_reload(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], maps: str
) -> None:
    daemon.configure(every(object_copy, maps=maps))
    daemon.start()
    before = xdp_id()
    shutil.copy(COUNT_BY_1000, object_copy)
    other = served(daemon, second)
    assert (xdp_id(), xdp_id("veth1") == before) == (before, maps == "shared")
    assert (counted(other), counted(veth)) == (1, 1)
    assert {CHANGED in a["note"] for a in daemon.call("Status")["status"]["attachments"]} == {True}
    daemon.reload()
    assert (counted(other), counted(veth)) == (1000, 1000)
    assert {a["note"] for a in daemon.call("Status")["status"]["attachments"]} == {""}
    assert [path.read_bytes() for path in copies(daemon)] == [COUNT_BY_1000.read_bytes()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_file_that_vanished_stops_neither_new_interfaces_nor_a_restart(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], tmp_path: Path, number: int
) -> None:
    daemon.configure(every(object_copy))
    daemon.start()
    before = xdp_id()
    object_copy.unlink()
    other = served(daemon, second)
    ip("link", "del", "veth1")
    wait_for(lambda: not state(daemon, "all@veth1"), "gone")
    daemon.end(number)
    trace = tmp_path / "trace"
    daemon.start(prefix=("strace", *to_file(trace)))
    status = daemon.call("Status")["status"]
    assert (status["degraded"], status["attachments"][0]["prog_id"]) == (False, before)
    assert "not there any more" in status["attachments"][0]["note"]
    daemon.end()
    assert kernel_writes(trace) == []
    daemon.start()
    assert counted(served(daemon, second)) == counted(veth) == 1
    assert other.name == "veth1"


def test_interface_made_anew_whose_program_is_gone_gets_it_from_what_was_read(
    veth: Veth, daemon: Daemon, object_copy: Path
) -> None:
    daemon.configure(xdp_entry(object=object_copy))
    daemon.start()
    before = xdp_id()
    shutil.copy(COUNT_BY_1000, object_copy)
    ip("link", "del", "veth0")
    wait_for(lambda: state(daemon, "edge") == "waiting", "waiting")
    for path in sorted((OWN_PINS / "edge").rglob("*"), reverse=True):
        path.unlink()
    (OWN_PINS / "edge").rmdir()
    add_veth(veth.name, veth.peer, veth.namespace)
    wait_for(lambda: state(daemon, "edge") == "attached", "attached")
    assert xdp_id() != before
    assert counted(veth) == 1


def test_retry_and_attach_use_what_was_read_and_a_reload_reads_the_mended_file(
    veth: Veth, daemon: Daemon, object_copy: Path
) -> None:
    shutil.copy(OBJECTS / "reject.bpf.o", object_copy)
    daemon.configure(tail_entry("bad", object=object_copy, program="bad"))
    daemon.start()
    shutil.copy(OBJECTS / "tc_count.bpf.o", object_copy)
    assert "the verifier refuses" in daemon.ctl("attach", "bad", status=71)
    status = daemon.call("Status")["status"]["attachments"][0]
    assert (status["state"], CHANGED in status["note"]) == ("failed", True)
    daemon.configure(tail_entry("bad", object=object_copy, program="count_in"))
    daemon.reload()
    assert state(daemon, "bad") == "attached"


def test_detached_entry_comes_back_with_what_was_read(veth: Veth, daemon: Daemon, object_copy: Path) -> None:
    daemon.configure(xdp_entry(object=object_copy))
    daemon.start()
    daemon.call("Detach", name="edge")
    shutil.copy(COUNT_BY_1000, object_copy)
    daemon.call("Attach", name="edge")
    assert counted(veth) == 1


def test_start_reads_the_files_as_a_reload_does(veth: Veth, daemon: Daemon, object_copy: Path) -> None:
    daemon.configure(xdp_entry(object=object_copy))
    daemon.start()
    daemon.end(signal.SIGKILL)
    shutil.copy(COUNT_BY_1000, object_copy)
    daemon.start()
    assert counted(veth) == 1000
    wait_for(lambda: [path.read_bytes() for path in copies(daemon)] == [COUNT_BY_1000.read_bytes()], "only the new")


def test_runtime_entry_by_path_keeps_what_was_read_when_it_was_attached(
    veth: Veth, daemon: Daemon, object_copy: Path
) -> None:
    daemon.configure(xdp_entry("late", interface="late0", object=object_copy))
    daemon.start()
    shutil.copy(COUNT_BY_1000, object_copy)
    entry = {"interface": "veth0", "hook": "xdp", "object": str(object_copy)}
    daemon.call("AttachObject", entry=entry)  # names the file, and so reads it
    assert counted(veth) == 1000
    ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
    wait_for(lambda: state(daemon, "late") == "attached", "attached")
    assert tag(daemon, "late") != tag(daemon, "veth0-xdp")
    object_copy.unlink()
    daemon.call("Detach", name="late")
    daemon.call("Attach", name="late")
    assert tag(daemon, "late") != tag(daemon, "veth0-xdp")
    ip("link", "del", "late0")


def tag(daemon: Daemon, name: str) -> Any:
    return daemon.attachment(name)["prog_tag"]


def test_damaged_object_of_a_runtime_entry_is_not_taken_for_a_change(
    veth: Veth, daemon: Daemon, object_copy: Path
) -> None:
    daemon.start()
    with object_copy.open("rb") as file:
        entry = {"interface": "veth0", "hook": "xdp", "object": str(object_copy)}
        daemon.call("AttachObject", entry=entry, descriptor=0, descriptors=(file.fileno(),))
    before = xdp_id()
    (path,) = daemon.state.glob("objects/*/*")
    path.write_bytes(COUNT_BY_1000.read_bytes())
    daemon.end()
    daemon.start()
    assert "is damaged" in daemon.log()
    assert (xdp_id(), state(daemon, "veth0-xdp")) == (before, "attached")


@NEEDS_BLOOM_FILTER
def test_names_of_maps_are_those_of_the_object_that_runs(veth: Veth, daemon: Daemon, object_copy: Path) -> None:
    daemon.configure(xdp_entry(object=object_copy))
    daemon.start()
    before = daemon.call("Maps", name="edge")
    shutil.copy(OBJECTS / "std_maps.bpf.o", object_copy)
    assert daemon.call("Maps", name="edge") == before
    assert BPFFS.joinpath("xdp_frames").exists()


def test_file_that_changes_between_look_and_load_is_loaded_as_it_was_looked_at(
    veth: Veth, daemon: Daemon, object_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reading of the file is followed at once by a change to something that nobody can load."""
    read = object_file.read_named

    def read_and_change(path: Any, what: str, limits: Limits) -> bytes:
        raw = read(path, what, limits)
        if Path(path) == object_copy:
            object_copy.write_bytes(b"no object")
        return raw

    monkeypatch.setattr(object_file, "read_named", read_and_change)
    daemon.configure(xdp_entry(object=object_copy), xdp_entry("late", interface="late0", object=object_copy))
    with in_process(parse_options(daemon.command()[3:])) as process:
        assert counted(veth) == 1
        shutil.copy(COUNT_BY_1000, object_copy)
        process.ask(process.service.reload())
        assert counted(veth) == 1000
        ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
        assert process.ask(process.service.attach("late")).state is State.ATTACHED
        ip("link", "del", "late0")
        shutil.copy(COUNT, object_copy)
        process.ask(process.service.reload(confirm=600))
        process.ask(process.service.confirm())
        assert counted(veth) == 1
    (kept,) = daemon.data.glob("confirmed-objects/*/*")
    assert kept.read_bytes() == COUNT.read_bytes()


@NEEDS_BLOOM_FILTER
def test_file_of_map_entries_is_read_as_it_is_when_the_map_is_made(
    veth: Veth, daemon: Daemon, second: Callable[[], Veth], tmp_path: Path
) -> None:
    entries = tmp_path / "flows.json"
    entries.write_text(flows(1))
    daemon.configure(every(OBJECTS / "std_maps.bpf.o", program="use_maps", map_init={"flows": str(entries)}))
    daemon.start()
    before = xdp_id()
    entries.write_text(flows(2)[:-9])  # as whoever writes it leaves it for a moment
    second()
    wait_for(lambda: state(daemon, "all@veth1") == "failed", "refused")
    assert str(entries) in daemon.attachment("all@veth1")["reason"]
    entries.write_text(flows(2))
    wait_for(lambda: state(daemon, "all@veth1") == "attached", "attached")
    daemon.reload()
    assert (xdp_id(), flows_of(before), flows_of(xdp_id("veth1"))) == (before, 1, 2)


def flows(count: int) -> str:
    return json.dumps([{"key": f"hex:{number:024x}", "value": "hex:" + "00" * 24} for number in range(count)])


def flows_of(prog_id: int) -> int:
    """Return how many entries the map has."""
    ids = map(str, bpftool_json("prog", "show", "id", str(prog_id))["map_ids"])
    (found,) = [number for number in ids if bpftool_json("map", "show", "id", number)["name"] == "flows"]
    return len(bpftool_json("map", "dump", "id", found))

"""A real daemon whose new object wants another pinned map: migrated with the program, or nothing is changed (F18)."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.test_daemon_kill import killed_at
from tests.support.daemon import BPFFS, OBJECTS, Daemon, counters, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth
from tests.support.old_kernel import NEEDS_BLOOM_FILTER
from tests.support.sandbox import pin_tree
from tests.support.tools import bpftool_json
from xdploaderd.errors import LoaderError, PinMismatchError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import MapId

pytestmark = pytest.mark.kernel
PIN = BPFFS / "xdp_frames"


def _map(*which: str) -> Any:
    return bpftool_json("map", "show", *(which or ("pinned", str(PIN))))


def _maps_of(interface: str) -> list[int]:
    return list(bpftool_json("prog", "show", "id", str(xdp_id(interface)))["map_ids"])


def _entries(entries: int, on_mismatch: str = "migrate") -> list[dict[str, object]]:
    values: dict[str, Any] = {"max_entries": {"xdp_frames": entries}, "on_mismatch": on_mismatch}
    return [xdp_entry(**values), xdp_entry("other", interface="veth8", **values)]


def _start(daemon: Daemon, count: int) -> int:
    daemon.configure(*_entries(1))
    daemon.start()
    with Bpf().obj_get(PIN) as fd:  # type: ignore[arg-type] # a Path is a PurePosixPath here
        Bpf().map_update(fd, bytes(4), count.to_bytes(8, "little"))
    return int(_map()["id"])


@pytest.mark.parametrize(("rule", "first"), [("migrate", 77), ("recreate", 0)])
def test_f18_map_of_another_size_is_replaced_with_the_programs_of_all_interfaces(
    veths: Veth, daemon: Daemon, rule: str, first: int
) -> None:
    old = _start(daemon, 77)
    daemon.configure(*_entries(4, rule))
    daemon.call("Reload")
    assert _map()["max_entries"] == 4
    assert _map()["id"] != old
    assert _maps_of("veth0") == _maps_of("veth8") == [_map()["id"]]
    assert counters(str(PIN))[0] >= first
    assert not any("maps_new" in path for path in pin_tree())


def test_f18_reload_that_fails_leaves_the_old_map_and_its_pin(veths: Veth, daemon: Daemon) -> None:
    old = _start(daemon, 77)
    before, pins = (xdp_id("veth0"), xdp_id("veth8")), pin_tree()
    refused = xdp_entry("other", interface="veth8", object=OBJECTS / "reject.bpf.o", program="bad")
    daemon.configure(_entries(4)[0], refused)
    with pytest.raises(LoaderError, match="attachment 'other'"):
        daemon.call("Reload")
    daemon.configure(*_entries(4, "refuse"))
    with pytest.raises(LoaderError, match="max entries: wanted 4, found 1"):
        daemon.call("Reload")
    assert ((xdp_id("veth0"), xdp_id("veth8")), pin_tree(), _map()["id"]) == (before, pins, old)


def test_f18_migration_that_nobody_confirms_gives_the_old_map_its_pin_back(veths: Veth, daemon: Daemon) -> None:
    old = _start(daemon, 77)
    before = xdp_id("veth0"), xdp_id("veth8")
    daemon.configure(*_entries(4))
    daemon.call("Reload", confirm=1)
    assert _map()["max_entries"] == 4
    wait_for(lambda: (xdp_id("veth0"), xdp_id("veth8")) == before and _map()["id"] == old, "rolled back")
    assert _maps_of("veth0") == _maps_of("veth8") == [old]
    assert counters(str(PIN))[0] >= 77
    wait_for(lambda: not any("_before" in path for path in pin_tree()), "no second pins")


def test_attachment_that_goes_on_with_the_old_map_is_told_by_plan_and_status(veths: Veth, daemon: Daemon) -> None:
    _start(daemon, 77)
    daemon.configure(_entries(4)[0], _entries(1)[1])
    assert "; 'other' will go on with the old one, in no pin" in daemon.ctl("plan")
    daemon.call("Reload", confirm=60)
    assert _maps_of("veth8") != [_map()["id"]]
    told = f"'{PIN}' is another map now than its program has: it takes that one when it is loaded anew"
    assert [a["note"] for a in daemon.call("List")["attachments"]] == ["", told]
    assert f"other: {told}" in daemon.ctl("status")
    daemon.call("RollBack")
    assert [a["note"] for a in daemon.call("List")["attachments"]] == ["", ""]
    daemon.call("Reload")
    daemon.end()
    daemon.start()
    assert daemon.attachment("other")["note"] == told
    daemon.configure(*_entries(4))
    assert "'other' will" not in daemon.ctl("plan")
    daemon.call("Reload")
    assert daemon.attachment("other")["note"] == ""
    assert _maps_of("veth0") == _maps_of("veth8") == [_map()["id"]]


@pytest.mark.parametrize(("one", "two"), [(4, 2), (4, 1), (1, 4)])
@pytest.mark.parametrize("there", [True, False])
def test_two_definitions_of_one_pin_in_one_change_are_refused(
    veths: Veth, daemon: Daemon, one: int, two: int, *, there: bool
) -> None:
    if there:
        _start(daemon, 77)
    else:
        daemon.start()
    before, pins = (xdp_id("veth0"), xdp_id("veth8")), pin_tree()
    v2 = OBJECTS / "xdp_count_v2.bpf.o"
    daemon.configure({**_entries(one)[0], "object": v2}, {**_entries(two)[1], "object": v2})
    refused = daemon.call("Plan")["actions"][1]
    assert (refused["action"], refused["blocks"]) == ("refuse", True)
    with pytest.raises(PinMismatchError, match="another attachment of the same change") as error:
        daemon.call("Reload")
    assert str(error.value).endswith(refused["reason"])
    assert ((xdp_id("veth0"), xdp_id("veth8")), pin_tree()) == (before, pins)


@pytest.mark.parametrize(("call", "number"), [("rename", n) for n in range(1, 7)] + [("sendto", 1), ("sendto", 2)])
def test_f18_kill_while_pins_move_leaves_every_program_with_the_pinned_map(
    veths: Veth, daemon: Daemon, call: str, number: int
) -> None:
    _start(daemon, 77)
    daemon.configure(*_entries(4))
    with killed_at(daemon, call, number):
        os.kill(daemon.pid, signal.SIGHUP)
    assert xdp_id("veth0")
    assert xdp_id("veth8")
    daemon.start()
    wait_for(lambda: not daemon.call("Status")["status"]["degraded"], "all as wanted")
    assert not any("new" in path for path in pin_tree())
    assert _maps_of("veth0") == _maps_of("veth8") == [_map()["id"]]
    assert _map()["max_entries"] == 4
    assert counters(str(PIN))[0] >= 77


def _flows() -> int:
    """Return the id of the unpinned map `flows` of the program on veth0."""
    shown = {map_id: _map("id", str(map_id)) for map_id in _maps_of("veth0")}
    return next(map_id for map_id, found in shown.items() if found["name"] == "flows")


def _flow_keys() -> list[Any]:
    return [entry["key"] for entry in bpftool_json("map", "dump", "id", str(_flows()))]


@pytest.mark.parametrize("kept", [True, False])
@NEEDS_BLOOM_FILTER
def test_kept_maps_go_over_to_the_program_of_a_changed_object(
    veths: Veth, daemon: Daemon, tmp_path: Path, *, kept: bool
) -> None:
    obj = tmp_path / "maps.o"
    obj.write_bytes((OBJECTS / "std_maps.bpf.o").read_bytes())
    entry = xdp_entry(object=obj, program="use_maps", keep_maps=["flows"] if kept else [])
    daemon.configure(entry)
    daemon.start()
    before, prog = _flows(), xdp_id()
    with Bpf().map_by_id(MapId(before)) as fd:
        Bpf().map_update(fd, bytes(12), bytes(24))
    obj.write_bytes(obj.read_bytes() + bytes(8))
    daemon.call("Reload")
    assert xdp_id() != prog
    assert (_flows() == before, len(_flow_keys())) == (kept, int(kept))
    daemon.configure({**entry, "max_entries": {"flows": 128}})
    if kept:
        with pytest.raises(LoaderError, match=r"the running program's map cannot be kept.*wanted 128, found 64"):
            daemon.call("Reload")
        assert _flows() == before
    daemon.configure({**entry, "max_entries": {"flows": 128}, "on_mismatch": "migrate"})
    daemon.call("Reload")
    assert (_map("id", str(_flows()))["max_entries"], len(_flow_keys())) == (128, int(kept))
    daemon.configure()
    daemon.call("Reload")
    (BPFFS / "devices").unlink()

"""What `plan` says of maps is what a reload then does; to say it changes nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.test_daemon_apply import traced
from tests.support.daemon import BPFFS, OBJECTS, Daemon, tail_entry, xdp_entry, xdp_id
from tests.support.netns import Veth
from tests.support.old_kernel import NEEDS_BLOOM_FILTER
from tests.support.sandbox import pin_tree
from xdploaderd.errors import LoaderError
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.migrate import count_entries
from xdploaderd.uapi.bpf import MapId, ProgId

pytestmark = pytest.mark.kernel
PIN = BPFFS / "xdp_frames"


def planned(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Return the maps of each action, by attachment and map."""
    actions = daemon.call("Plan")["actions"]
    return {action["name"]: {one["name"]: one for one in action["maps"]} for action in actions}


def maps_of(interface: str = "veth0") -> dict[str, tuple[MapInfo, int]]:
    """Return the maps of the program on XDP by name, each with the number of its entries, which arrays do not have."""
    bpf = Bpf()
    found = {}
    with bpf.prog_by_id(ProgId(xdp_id(interface))) as prog:
        for number in bpf.prog_info(prog).map_ids:
            with bpf.map_by_id(MapId(number)) as fd:
                info = bpf.map_info(fd)
                found[info.name] = info, count_entries(bpf, fd, info)
    return found


def fill(name: str, key: bytes, value: bytes) -> None:
    with Bpf().map_by_id(maps_of()[name][0].id) as fd:
        Bpf().map_update(fd, key, value)


def changed_object(tmp_path: Path) -> Path:
    """Return a copy of an object with three kinds of maps, to be changed."""
    copy = tmp_path / "maps.o"
    copy.write_bytes((OBJECTS / "std_maps.bpf.o").read_bytes())
    return copy


@NEEDS_BLOOM_FILTER
def test_plan_of_a_new_object_then_apply_does_to_every_map_what_was_said(
    veths: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    obj = changed_object(tmp_path)
    daemon.configure(xdp_entry(object=obj, program="use_maps", keep_maps=["flows"]))
    daemon.start()
    fill("flows", bytes(12), bytes(24))
    before = maps_of()
    obj.write_bytes(obj.read_bytes() + bytes(8))
    said = planned(daemon)["edge"]
    daemon.call("Reload")
    after = maps_of()
    assert set(after) <= {name[:15] for name in said}
    same = {name: after[name][0].id == before[name][0].id for name in after}
    assert same == {name: said[name]["action"] in ("reuse", "keep") for name in after}
    assert said["flows"]["action"] == "keep"
    assert {name for name, one in said.items() if one["pin"]} == {"devices"}


@pytest.mark.parametrize(("rule", "kept", "lost"), [("migrate", 2, 0), ("recreate", 0, 2)])
@NEEDS_BLOOM_FILTER
def test_plan_counts_entries_that_go_over_and_that_are_lost(
    veths: Veth, daemon: Daemon, tmp_path: Path, rule: str, kept: int, lost: int
) -> None:
    entry = xdp_entry(object=changed_object(tmp_path), program="use_maps", keep_maps=["flows"])
    daemon.configure(entry)
    daemon.start()
    for first in (1, 2):
        fill("flows", bytes([first, *bytes(11)]), bytes(24))
    daemon.configure({**entry, "max_entries": {"flows": 128}, "on_mismatch": rule})
    said = planned(daemon)["edge"]["flows"]
    assert (said["action"], said["entries"], said["lost"]) == (rule, kept, lost)
    assert "wanted 128, found 64" in said["reason"]
    daemon.call("Reload")
    assert maps_of()["flows"][1] == kept


@pytest.mark.parametrize("rule", ["migrate", "recreate"])
def test_plan_tells_of_a_pinned_map_that_two_attachments_get_anew(veths: Veth, daemon: Daemon, rule: str) -> None:
    daemon.configure(xdp_entry(), xdp_entry("other", interface="veth8"))
    daemon.start()
    old = maps_of()["xdp_frames"][0].id
    grown: dict[str, Any] = {"max_entries": {"xdp_frames": 4}, "on_mismatch": rule}
    daemon.configure(xdp_entry(**grown), xdp_entry("other", interface="veth8", **grown))
    said = planned(daemon)
    assert [one["xdp_frames"]["action"] for one in said.values()] == [rule, "reuse"]
    assert {one["xdp_frames"]["pin"] for one in said.values()} == {str(PIN)}
    assert str(old) in said["edge"]["xdp_frames"]["reason"]
    daemon.call("Reload")
    ids = {maps_of(name)["xdp_frames"][0].id for name in ("veth0", "veth8")}
    assert len(ids) == 1
    assert old not in ids


def test_plan_refuses_what_reload_refuses_and_in_the_same_words(veths: Veth, daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before, pins = xdp_id(), pin_tree()
    broken = tmp_path / "broken.o"
    broken.write_bytes(b"no object")
    bad: tuple[dict[str, Any], ...] = ({"max_entries": {"xdp_frames": 4}}, {"object": broken})
    for fields in bad:
        daemon.configure(xdp_entry(**fields), xdp_entry("other", interface="veth8"))
        edge, other = daemon.call("Plan")["actions"]
        assert (edge["action"], edge["blocks"], other["action"], other["blocks"]) == ("refuse", True, "attach", False)
        with pytest.raises(LoaderError) as refused:
            daemon.call("Reload")
        assert str(refused.value).endswith(edge["reason"])
        assert "would be refused for edge" in daemon.ctl("plan")
    assert (xdp_id(), pin_tree()) == (before, pins)


@NEEDS_BLOOM_FILTER
def test_plan_says_that_unpinned_maps_start_empty_and_how_full_a_file_makes_them(
    veths: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    entries = tmp_path / "flows.json"
    entries.write_text(json.dumps([{"key": "hex:" + "00" * 12, "value": "hex:" + "00" * 24}]))
    daemon.start()
    entry = xdp_entry(object=OBJECTS / "std_maps.bpf.o", program="use_maps")
    daemon.configure(entry)
    assert planned(daemon)["edge"]["flows"]["reason"] == "starts empty, in no pin"
    daemon.configure({**entry, "map_init": {"flows": str(entries)}})
    assert planned(daemon)["edge"]["flows"]["entries"] == 1
    daemon.call("Reload")
    assert maps_of()["flows"][1] == 1


def test_plan_tells_who_takes_the_program_of_another(veths: Veth, daemon: Daemon) -> None:
    daemon.start()
    daemon.configure(xdp_entry(maps="shared"), xdp_entry("other", interface="veth8", maps="shared"))
    said = planned(daemon)
    assert [one["xdp_frames"]["action"] for one in said.values()] == ["create", "share"]
    assert "'edge'" in said["other"]["xdp_frames"]["reason"]
    daemon.call("Reload")
    assert xdp_id("veth0") == xdp_id("veth8")


def test_plan_and_reload_go_by_the_pinning_that_comes_with_the_entry(veths: Veth, daemon: Daemon) -> None:
    daemon.start()
    daemon.pinning.write_text("by-name shared/maps\n")
    daemon.configure(xdp_entry())
    pin = BPFFS / "shared/maps/xdp_frames"
    assert planned(daemon)["edge"]["xdp_frames"]["pin"] == str(pin)
    daemon.call("Reload")
    assert pin.exists()
    assert not PIN.exists()


def test_plan_writes_nothing_to_the_kernel(veths: Veth, daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(xdp_entry(), tail_entry("tail", interface="veth8"))
    daemon.start()
    grown: Mapping[str, Any] = {"max_entries": {"xdp_frames": 4}, "on_mismatch": "migrate"}
    daemon.configure(xdp_entry(**grown), tail_entry("new"))
    assert traced(daemon, tmp_path / "trace", {"method": "Plan"}) == []
    assert {action["action"] for action in daemon.call("Plan")["actions"]} == {"replace", "attach", "detach"}

"""`xdploaderctl map` on maps of attachments and of pins, on the real kernel; bpftool says what is in them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import BPFFS, OBJECTS, Daemon, daemon_in, tail_entry, xdp_entry
from tests.support.netns import Veth
from tests.support.old_kernel import NEEDS_BLOOM_FILTER
from tests.support.tools import bpftool_json
from xdploaderd.control.client import ControlClient
from xdploaderd.errors import KernelError, NoSuchMapError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd

pytestmark = [pytest.mark.kernel, NEEDS_BLOOM_FILTER]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        made.configure(xdp_entry(object=OBJECTS / "std_maps.bpf.o", program="use_maps"), tail_entry())
        made.start()
        yield made


def shown(daemon: Daemon, name: str = "edge") -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(daemon.ctl("map", "show", name, "--json"))}


def test_maps_of_an_attachment_are_those_of_its_program(veth: Veth, daemon: Daemon) -> None:
    maps = shown(daemon)
    prog = bpftool_json("prog", "show", "id", str(daemon.attachment("edge")["prog_id"]))
    assert sorted(one["id"] for one in maps.values()) == sorted(prog["map_ids"])
    theirs = bpftool_json("map", "show", "id", str(maps["flows"]["id"]))
    assert (maps["flows"]["type"], maps["flows"]["max_entries"]) == (theirs["type"], theirs["max_entries"])
    assert "flows" in daemon.ctl("map", "show", "edge")
    assert any("arrays_" in one["pin"] for one in shown(daemon, "tail").values())


def test_entry_that_is_set_is_seen_got_and_deleted(veth: Veth, daemon: Daemon) -> None:
    key, value = "hex:" + "01" * 12, "hex:" + "02" * 24
    number = str(shown(daemon)["flows"]["id"])
    assert "NoSuchEntry" in daemon.ctl("map", "get", "edge", "flows", key, status=66)
    assert daemon.ctl("map", "set", "edge", "flows", key, value) == "1 entry set\n"
    (entry,) = bpftool_json("map", "dump", "id", number)
    assert (entry["key"], entry["value"]) == (["0x01"] * 12, ["0x02"] * 24)
    got = json.loads(daemon.ctl("map", "get", "edge", "flows", key, "--json"))
    (dumped,) = json.loads(daemon.ctl("map", "dump", "edge", "flows", "--json"))["entries"]
    assert got == dumped
    assert json.loads(daemon.ctl("map", "get", "edge", number, json.dumps(got["key"]), "--json")) == got
    daemon.ctl("map", "delete", "edge", "flows", json.dumps(got["key"]))
    assert bpftool_json("map", "dump", "id", number) == []
    assert "NoSuchEntry" in daemon.ctl("map", "delete", "edge", "flows", key, status=66)
    assert "open map 'flows' to write" in daemon.log()


def test_file_of_entries_goes_into_a_map_of_an_attachment(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "flows.json"
    file.write_text(json.dumps([{"key": f"hex:{n:02x}" + "00" * 11, "value": "hex:" + "00" * 24} for n in (1, 2)]))
    assert daemon.ctl("map", "load", "edge", "flows", str(file)) == "2 entries set\n"
    assert len(bpftool_json("map", "dump", "id", str(shown(daemon)["flows"]["id"]))) == 2


def test_pins_are_opened_without_the_daemon(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.reload()
    (frames,) = shown(daemon).values()
    assert frames["pin"] == str(BPFFS / "xdp_frames")
    daemon.end()
    assert json.loads(daemon.ctl("map", "show", frames["pin"], "--json"))[0]["id"] == frames["id"]
    pin = str(BPFFS / "xdp_frames")
    daemon.ctl("map", "set", pin, "0", "41")
    assert daemon.ctl("map", "get", pin, "0") == "0: 41\n"
    assert "always has all" in daemon.ctl("map", "delete", pin, "0", status=64)
    assert "no element 7" in daemon.ctl("map", "get", pin, "7", status=78)


def test_every_cpu_gets_the_value(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("map", "set", "edge", "per_cpu", "1", "7")
    got = json.loads(daemon.ctl("map", "get", "edge", "per_cpu", "1", "--json"))
    assert {one["value"] for one in got["values"]} == {7}


def test_descriptor_to_read_cannot_write(veth: Veth, daemon: Daemon) -> None:
    client, bpf = ControlClient(daemon.state / "control"), Bpf()
    with Fd(client.open("OpenMap", {"name": "edge", "map": "flows"})) as fd:
        assert bpf.map_next_key(fd, None, 12) is None
        with pytest.raises(KernelError, match="not permitted"):
            bpf.map_update(fd, bytes(12), bytes(24))
    with Fd(client.open("OpenMap", {"name": "edge", "map": "flows", "write": True})) as fd:
        bpf.map_update(fd, bytes(12), bytes(24))


def test_what_is_not_there_is_told_and_leaves_no_descriptor(veth: Veth, daemon: Daemon) -> None:
    client = ControlClient(daemon.state / "control")
    for _ in range(3):
        with pytest.raises(NoSuchMapError, match=r"there is: .*'flows'"):
            client.open("OpenMap", {"name": "edge", "map": "nope"})
        os.close(client.open("OpenMap", {"name": "edge", "map": "flows"}))
    assert "NoSuchAttachment" in daemon.ctl("map", "dump", "nobody", "flows", status=66)
    assert "map dump takes a map" in daemon.ctl("map", "dump", "a", "b", "c", status=2)
    assert not [fd for fd in Path(f"/proc/{daemon.pid}/fd").iterdir() if "bpf-map" in str(fd.readlink())]
    daemon.ctl("detach", "edge")
    assert "no program loaded" in daemon.ctl("map", "show", "edge", status=66)

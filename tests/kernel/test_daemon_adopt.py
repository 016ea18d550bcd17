"""`xdploaderctl adopt`: a running program of ip or tc becomes an entry, and nothing of it changes."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, counters_of, daemon_in, tc_ids, wait_for, xdp_id
from tests.support.netns import Veth, add_veth, ip, tc
from tests.support.rawbpf import XDP_PASS, RawFd, returning, xdp_link
from tests.support.tools import bpftool_json
from xdploaderd.net.door import NOTHING
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import ProgType

pytestmark = pytest.mark.kernel

COUNT = OBJECTS / "xdp_count.bpf.o"
GLOBALS = OBJECTS / "std_globals.bpf.o"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        made.whole_directory = True
        made.start()
        yield made


def attach_by_ip(path: Path = COUNT) -> int:
    ip("link", "set", "veth0", "xdp", "obj", str(path), "sec", "xdp")
    return xdp_id()


def test_program_of_ip_is_taken_over_with_its_counters(veth: Veth, daemon: Daemon) -> None:
    before = attach_by_ip()
    veth.send_in(3)
    wait_for(lambda: sum(counters_of(before)) == 3, "three frames")
    told = json.loads(daemon.ctl("adopt", "--interface", "veth0", "--object", str(COUNT), "--name", "edge", "--json"))
    assert [(one["result"], one["prog_id"], one["program"]) for one in told] == [("adopted", before, "xdp_count")]
    assert (xdp_id(), daemon.attachment("edge")["origin"]) == (before, "permanent")
    veth.send_in(2)
    wait_for(lambda: sum(counters_of(before)) == 5, "five frames")
    text = (daemon.directory / "conf.d/50-edge.yaml").read_text()
    assert f'object: "{COUNT}"' in text
    daemon.reload()
    daemon.end()
    daemon.start()
    assert (xdp_id(), daemon.attachment("edge")["state"]) == (before, "attached")
    ip("link", "del", "veth0")
    add_veth(veth.name, veth.peer, veth.namespace)
    wait_for(lambda: xdp_id() == before, "the same program on the new interface")
    assert daemon.ctl("adopt", "--all").startswith("xdp of veth0: program ")
    assert daemon.ctl("adopt", "--all").splitlines()[0].endswith("ours as edge")
    daemon.ctl("detach", "--permanent", "edge")
    assert not xdp_id()


def test_filter_of_tc_is_taken_over_as_it_stands(veth: Veth, daemon: Daemon) -> None:
    tc("qdisc", "add", "dev", "veth0", "clsact")
    place = ("dev", "veth0", "egress", "pref", "10", "handle", "7", "protocol", "ip")
    tc("filter", "add", *place, "bpf", "da", "obj", str(GLOBALS), "sec", "tc")
    before = tc("filter", "show", "dev", "veth0", "egress")
    said = daemon.ctl("adopt", "--interface", "veth0", "--hook", "tc-egress", "--object", str(GLOBALS), "--runtime")
    assert "adopted as veth0-tc-egress-10-7" in said
    assert tc("filter", "show", "dev", "veth0", "egress") == before
    status = daemon.attachment("veth0-tc-egress-10-7")
    assert (status["state"], status["origin"], status["priority"], status["handle"]) == ("attached", "runtime", 10, 7)
    daemon.reload()
    assert tc("filter", "show", "dev", "veth0", "egress") == before
    daemon.call("Detach", name="veth0-tc-egress-10-7")
    assert tc_ids(direction="egress") == []
    assert "clsact" in tc("qdisc", "show", "dev", "veth0")


def test_other_object_is_refused_and_changes_nothing(veth: Veth, daemon: Daemon) -> None:
    before = attach_by_ip()
    words = ("adopt", "--interface", "veth0", "--object", str(OBJECTS / "xdp_count_v2.bpf.o"))
    assert "NoSuchProgram" in daemon.ctl(*words, status=3)
    assert (xdp_id(), daemon.names()) == (before, [])
    assert list((daemon.directory / "conf.d").glob("*")) == []
    assert not OWN_PINS.exists()


def test_without_an_object_what_is_known_is_told(veth: Veth, daemon: Daemon) -> None:
    before = attach_by_ip()
    told = json.loads(daemon.ctl("adopt", "--all", "--json", status=3))
    (one,) = [one for one in told if one["interface"] == "veth0"]
    info = bpftool_json("prog", "show", "id", str(before))
    assert (one["prog_name"], one["prog_tag"], one["map_ids"]) == (info["name"], info["tag"], info["map_ids"])
    assert (one["uid"], one["result"]) == (0, "left")
    assert "--object" in one["reason"]
    assert one["loaded_at"].startswith("20")


def test_dry_run_finds_the_program_and_does_nothing(veth: Veth, daemon: Daemon) -> None:
    before = attach_by_ip()
    daemon.end()
    said = daemon.ctl("adopt", "--interface", "veth0", "--object", str(COUNT), "--dry-run")
    assert "would adopt" in said
    assert f"program xdp_count of {COUNT}" in said
    assert xdp_id() == before
    daemon.start()
    assert daemon.names() == []


def test_program_of_a_link_is_told_and_left(veth: Veth, daemon: Daemon) -> None:
    with returning(ProgType.XDP, XDP_PASS) as prog, xdp_link(prog, socket.if_nametoindex("veth0")):
        assert "bpf_link" in daemon.ctl("adopt", "--interface", "veth0", "--object", str(COUNT), status=3)


def test_dispatcher_of_xdp_loader_is_told_and_left(veth: Veth, daemon: Daemon) -> None:
    async def attach(prog: RawFd) -> None:
        async with await Rtnl.open() as rtnl:
            index = (await rtnl.interface("veth0")).index
            await rtnl.set_xdp(index, prog.fileno(), 0, NOTHING)

    with returning(ProgType.XDP, XDP_PASS, name="xdp_dispatcher") as prog:
        asyncio.run(attach(prog))
    before = xdp_id()
    said = daemon.ctl("adopt", "--interface", "veth0", "--object", str(COUNT), status=3)
    assert "dispatcher of xdp-loader" in said
    assert xdp_id() == before

"""A real daemon that attaches by bpf_link: found again, changed in place, and noticed when others take it off."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import rawbpf
from tests.support.daemon import OBJECTS, OWN_PINS, SLOWNESS, Daemon, counters, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, add_veth, ip, veth_pair
from tests.support.old_kernel import NEEDS_TCX, older_than, skip_before
from tests.support.rawbpf import BPF_F_BEFORE, returning
from tests.support.tools import bpftool_json
from xdploaderd.errors import KernelError
from xdploaderd.info import LinkInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import LinkId, ProgType

pytestmark = pytest.mark.kernel
TCX_NEXT = -1  # the next program decides


def xdp_link(**fields: object) -> dict[str, object]:
    return {**xdp_entry(), "attach": "link", **fields}


def tcx_link(name: str = "in", **fields: object) -> dict[str, object]:
    entry = {"name": name, "interface": "veth0", "hook": "tc-ingress", "object": OBJECTS / "tc_count.bpf.o"}
    return {**entry, "program": "count_in", "attach": "link", **fields}


KINDS = [pytest.param(xdp_link(), id="xdp"), pytest.param(tcx_link(), id="tcx", marks=NEEDS_TCX)]


def links(interface: str = "veth0") -> list[LinkInfo]:
    """Return every link to an interface, of whomever, by the ids of the kernel."""
    index, bpf = socket.if_nametoindex(interface), Bpf()
    infos = [info_of(bpf, number) for number in bpf.link_ids()]
    return [info for info in infos if info is not None and info.ifindex == index]


def info_of(bpf: Bpf, number: LinkId) -> LinkInfo | None:
    try:
        with bpf.link_by_id(number) as link:
            return bpf.link_info(link)
    except KernelError:  # somebody else's, that went meanwhile
        return None


def only_link() -> LinkInfo:
    (link,) = links()
    return link


@pytest.mark.parametrize("entry", KINDS)
def test_link_is_pinned_and_found_again_after_a_restart(veth: Veth, daemon: Daemon, entry: dict[str, object]) -> None:
    daemon.configure(entry)
    daemon.start()
    name = str(entry["name"])
    status, link = daemon.attachment(name), only_link()
    assert (status["state"], status["attach"]) == ("attached", "link")
    assert (status["link_id"], status["prog_id"]) == (link.id, link.prog_id)
    assert str(OWN_PINS / name / "link") in status["pins"]
    daemon.end(signal.SIGKILL)
    assert only_link() == link
    lines = len(daemon.changes())
    daemon.start()
    assert daemon.attachment(name) == status
    assert daemon.changes()[lines:] == []
    daemon.configure()
    daemon.reload()
    assert links() == []
    assert not (OWN_PINS / name).exists()


def test_change_of_the_object_updates_the_link(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "fw.o"
    path.write_bytes((OBJECTS / "xdp_count.bpf.o").read_bytes())
    daemon.configure(xdp_link(object=path))
    daemon.start()
    before = only_link()
    path.write_bytes((OBJECTS / "xdp_count_v2.bpf.o").read_bytes())
    daemon.reload()
    after = only_link()
    assert after.id == before.id
    assert after.prog_id != before.prog_id
    assert xdp_id() == after.prog_id
    veth.send_in(10)
    wait_for(lambda: counters("xdp_frames")[0] >= 10, "frames are counted")


def test_tcx_program_counts_and_leaves_clsact_alone(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tcx_link())
    daemon.start()
    if older_than("6.6"):
        assert "no TCX, which Linux 6.6 brought" in daemon.attachment("in")["reason"]
        assert (links(), tc_ids()) == ([], [])
        skip_before("6.6", "TCX")
    veth.send_in(10)
    prog = daemon.attachment("in")["prog_id"]
    assert bpftool_json("prog", "show", "id", str(prog))["type"] == "sched_cls"
    assert tc_ids() == []
    assert "clsact" not in subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout


def detach_by_others() -> None:
    bpf = Bpf()
    with bpf.link_by_id(only_link().id) as link:
        bpf.link_detach(link)


@pytest.mark.parametrize("entry", KINDS)
@pytest.mark.parametrize(("policy", "state"), [("report", "foreign"), ("yield", "detached"), ("restore", "attached")])
def test_link_that_somebody_detached_is_noticed(
    veth: Veth, daemon: Daemon, entry: dict[str, object], policy: str, state: str
) -> None:
    daemon.configure({**entry, "on_foreign": policy})
    daemon.start()
    detach_by_others()
    if policy != "restore":
        ip("link", "set", "veth0", "txqueuelen", "99")  # LINK_DETACH makes no netlink event
    name = str(entry["name"])
    wait_for(lambda: daemon.attachment(name)["state"] == state and bool(links()) is (policy == "restore"), state)
    assert (OWN_PINS / name / "link").exists() is (policy == "restore")
    if policy != "restore":
        assert "somebody took our program off" in daemon.attachment(name)["reason"]
        daemon.call("Attach", name=name)
        assert daemon.attachment(name)["prog_id"] == only_link().prog_id


@pytest.mark.parametrize("entry", KINDS)
def test_link_that_somebody_detached_is_restored_within_a_second(
    veth: Veth, daemon: Daemon, entry: dict[str, object]
) -> None:
    daemon.configure({**entry, "on_foreign": "restore"})
    daemon.start()
    name, before = str(entry["name"]), only_link()
    detach_by_others()
    began = time.monotonic()
    wait_for(lambda: any(link.id != before.id and link.ifindex for link in links()), "restored")
    assert time.monotonic() - began < 1 * SLOWNESS
    wait_for(lambda: daemon.attachment(name)["state"] == "attached", "attached")


@pytest.mark.parametrize("entry", KINDS)
def test_interface_that_is_made_anew_gets_a_new_link(veth: Veth, daemon: Daemon, entry: dict[str, object]) -> None:
    daemon.configure(entry)
    daemon.start()
    name, before = str(entry["name"]), only_link()
    ip("link", "del", "veth0")
    wait_for(lambda: daemon.attachment(name)["state"] == "waiting", "it is gone")
    assert not (OWN_PINS / name / "link").exists()
    add_veth(veth.name, veth.peer, veth.namespace)
    wait_for(lambda: daemon.attachment(name)["state"] == "attached", "it is attached again")
    after = only_link()
    assert after.prog_id == before.prog_id
    assert after.id != before.id


def test_other_tools_cannot_take_an_xdp_link_off(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_link())
    daemon.start()
    before = only_link()
    refused = subprocess.run(
        ["ip", "link", "set", "veth0", "xdp", "off"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert refused.returncode != 0
    assert only_link() == before
    assert daemon.attachment("edge")["state"] == "attached"


@pytest.mark.parametrize("kinds", [("netlink", "link"), ("link", "netlink")])
def test_f44_change_of_kind_of_xdp_needs_allow_gap(veth: Veth, daemon: Daemon, kinds: tuple[str, str]) -> None:
    daemon.configure(xdp_entry(attach=kinds[0]))
    daemon.start()
    before = xdp_id()
    daemon.configure(xdp_entry(attach=kinds[1]))
    daemon.reload()
    problem = daemon.call("Status")["status"]["config_error"]
    assert f"has a program by {kinds[0]}, wanted by {kinds[1]}" in problem
    assert (xdp_id(), daemon.attachment("edge")["attach"]) == (before, kinds[0])
    daemon.configure(xdp_entry(attach=kinds[1], allow_gap=True))
    daemon.reload()
    assert daemon.attachment("edge")["state"] == "attached"
    assert xdp_id() == before
    assert len(links()) == (kinds[1] == "link")
    assert any("ms without a program" in line for line in daemon.changes())


@NEEDS_TCX
def test_change_of_kind_of_tc_leaves_no_gap(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tcx_link(attach="netlink"))
    daemon.start()
    (before,) = tc_ids()
    daemon.configure(tcx_link())
    daemon.reload()
    assert daemon.attachment("in")["state"] == "attached"
    assert (only_link().prog_id, tc_ids()) == (before, [])
    daemon.configure(tcx_link(attach="netlink"))
    daemon.reload()
    assert (links(), tc_ids()) == ([], [before])


def test_renamed_entry_takes_the_link_over(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_link())
    daemon.start()
    before = only_link()
    daemon.configure(xdp_link(name="gate"))
    daemon.reload()
    assert daemon.attachment("gate")["state"] == "attached"
    assert only_link().id == before.id
    assert (OWN_PINS / "gate/link").exists()
    assert not (OWN_PINS / "edge").exists()


def test_entry_that_moves_to_another_interface_takes_its_link_along(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_link())
    daemon.start()
    with veth_pair("veth1", "peer1"):
        daemon.configure(xdp_link(interface="veth1"))
        daemon.reload()
        assert daemon.attachment("edge")["state"] == "attached"
        assert (links(), xdp_id(), bool(xdp_id("veth1"))) == ([], 0, True)
        daemon.configure()
        daemon.reload()
        assert xdp_id("veth1") == 0


@NEEDS_TCX
def test_tcx_programs_run_in_the_order_of_their_entries_and_keep_it(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "tc.o"
    path.write_bytes((OBJECTS / "tc_count.bpf.o").read_bytes())
    daemon.configure(
        tcx_link("a", order="last", object=path),
        tcx_link("b", order="first"),
        tcx_link("c", order="{before: a}"),
        tcx_link("d", order="after:b", program="count_out"),
    )
    daemon.start()
    names = {a["prog_id"]: a["name"] for a in daemon.call("List")["attachments"]}
    assert [names[int(text.split()[0])] for text in daemon.attachment("a")["chain"]] == ["b", "d", "c", "a"]
    assert [daemon.attachment(name)["position"] for name in "bdca"] == [1, 2, 3, 4]
    old = daemon.attachment("a")["prog_id"]
    path.write_bytes((OBJECTS / "tc_count.bpf.o").read_bytes() + b"\0")
    daemon.reload()
    after = daemon.attachment("a")
    assert (after["state"], after["position"], after["note"]) == ("attached", 4, "")
    assert after["prog_id"] != old


@NEEDS_TCX
@pytest.mark.parametrize("where", [{"interface": "veth0"}, {"match": "{name: 'veth*'}"}], ids=["one", "several"])
def test_order_goes_by_the_program_that_an_entry_for_several_has_on_that_hook(
    veth: Veth, daemon: Daemon, where: dict[str, object]
) -> None:
    def entry(name: str, where: dict[str, object], **fields: object) -> dict[str, object]:
        values = {key: value for key, value in tcx_link(name, **fields).items() if key != "interface"}
        return {**values, **where}

    several: dict[str, object] = {"match": "{name: 'veth*'}"}
    others = entry("a", several), entry("b", {"interface": "veth0"})
    daemon.configure(entry("c", where, order="after:a", allow_gap=True), *others)
    daemon.start()
    name = "c" if where != several else "c@veth0"
    assert chain(daemon) == ["a@veth0", name, "b"]
    assert daemon.attachment(name)["note"] == ""
    daemon.configure(entry("c", where, order="before:a", allow_gap=True), *others)
    daemon.reload()
    assert chain(daemon) == [name, "a@veth0", "b"]


@NEEDS_TCX
def test_tcx_programs_keep_their_order_beside_those_of_others(veth: Veth, daemon: Daemon) -> None:
    index = socket.if_nametoindex("veth0")
    with returning(ProgType.SCHED_CLS, TCX_NEXT, "theirs") as theirs, rawbpf.tcx_link(theirs, index):
        orders = {"a": "first", "b": "last", "c": "{after: theirs}"}
        daemon.configure(*(tcx_link(name, order=order) for name, order in orders.items()))
        daemon.start()
        assert chain(daemon) == ["a", "theirs", "c", "b"]
        with returning(ProgType.SCHED_CLS, TCX_NEXT, "ahead") as ahead, rawbpf.tcx_link(ahead, index, BPF_F_BEFORE):
            assert "would change nothing" in daemon.ctl("plan")
            daemon.call("Reload")
            assert chain(daemon) == ["ahead", "a", "theirs", "c", "b"]
            assert "runs as 2 of 5, wanted first" in daemon.attachment("a")["note"]
            daemon.configure(*(tcx_link(name, order=order, allow_gap=True) for name, order in orders.items()))
            daemon.call("Reload")
            assert chain(daemon) == ["a", "ahead", "theirs", "c", "b"]
            assert daemon.attachment("a")["note"] == ""
        veth.send_in(3)
        assert sum(counters("tc_frames")) >= 3  # the first of ours ends the chain


def chain(daemon: Daemon) -> list[str]:
    """Return what runs on the hook in order: our entries' names, and others' programs by their own."""
    ours = {a["prog_id"]: a["name"] for a in daemon.call("List")["attachments"]}
    (text,) = {tuple(a["chain"]) for a in daemon.call("List")["attachments"]}
    numbers = (one.split() for one in text)
    return [ours.get(int(number), name) for number, name in numbers]


def test_native_mode_that_is_refused_leads_to_skb_and_is_tried_again_when_the_mtu_changes(
    veth: Veth, daemon: Daemon
) -> None:
    ip("link", "set", veth.peer, "mtu", "9000", namespace=veth.namespace)
    daemon.configure(xdp_entry(modes="[native, skb]"))
    daemon.start()
    status = daemon.attachment("edge")
    assert (status["state"], status["actual_mode"]) == ("attached", "skb")
    assert "wanted native: native mode was refused with MTU 1500: " in status["note"]
    assert "Peer MTU is too large" in status["note"]
    warnings = [line for line in daemon.log().splitlines() if line.startswith("WARNING") and "Peer MTU" in line]
    assert len(warnings) == 1
    before = xdp_id()
    daemon.configure(xdp_entry(modes="[native, skb]", allow_gap=True))
    daemon.reload()
    assert (xdp_id(), daemon.attachment("edge")["actual_mode"]) == (before, "skb")
    changes = daemon.changes()
    assert daemon.call("Plan")["actions"] == []
    daemon.reload()
    assert [line for line in daemon.changes() if "audit:" not in line] == [
        line for line in changes if "audit:" not in line
    ]
    daemon.call("Attach", name="edge")
    assert "a better mode of XDP is tried again" in daemon.changes()[-2]
    assert daemon.attachment("edge")["actual_mode"] == "skb"
    ip("link", "set", veth.peer, "mtu", "1500", namespace=veth.namespace)
    ip("link", "set", "veth0", "mtu", "1400")
    wait_for(lambda: daemon.attachment("edge")["actual_mode"] == "native", "native mode is taken")
    assert (xdp_id(), daemon.attachment("edge")["note"]) == (before, "")
    assert len([line for line in daemon.log().splitlines() if line.startswith("WARNING") and "Peer MTU" in line]) == 1


def test_refused_native_mode_of_a_link_names_the_text_of_the_driver(veth: Veth, daemon: Daemon) -> None:
    ip("link", "set", veth.peer, "mtu", "9000", namespace=veth.namespace)
    daemon.configure(xdp_link(mode="native"))
    daemon.start()
    status = daemon.attachment("edge")
    assert status["state"] == "failed"
    assert "Peer MTU is too large" in status["reason"]
    assert xdp_id() == 0

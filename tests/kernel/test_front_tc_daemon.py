"""`xdploaderctl tc filter ...` beside a running daemon: whose the filter is, and how it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, Daemon, counters, daemon_in, tail_entry, tc_ids, wait_for
from tests.support.netns import Veth, add_veth, ip, tc, veth_pair

pytestmark = pytest.mark.kernel
COUNT, LEGACY = str(OBJECTS / "tc_count.bpf.o"), str(OBJECTS / "legacy_pin2.bpf.o")
ON_V0 = ("dev", "veth0", "ingress")
ADD = ("filter", "add", *ON_V0)


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        tc("qdisc", "add", "dev", "veth0", "clsact")
        yield pair


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        made.start()
        yield made


def test_filter_is_the_daemons_and_comes_back_with_its_interface(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "pref", "7", "bpf", "da", "obj", COUNT, "sec", "tc/ingress")
    status = daemon.attachment("veth0-tc-ingress-7-1")
    assert (status["state"], status["origin"], [status["prog_id"]]) == ("attached", "runtime", tc_ids())
    veth.send_in(2)
    wait_for(lambda: counters("tc_frames")[0] == 2, "both frames are counted")
    ip("link", "del", "veth0")
    add_veth("veth0", "peer0", veth.namespace)
    wait_for(tc_ids, "the filter is on the new interface")
    daemon.ctl("tc", "filter", "del", *ON_V0, "pref", "7", "handle", "1", "bpf")
    assert (tc_ids(), daemon.names()) == ([], [])


def test_priority_and_handle_are_those_of_the_kernel(veth: Veth, daemon: Daemon) -> None:
    for pref in ((), (), ("pref", "5"), ("pref", "5")):
        daemon.ctl("tc", *ADD, *pref, "bpf", "da", "obj", LEGACY)
    places = ("49152-1", "49151-1", "5-1", "5-2")
    assert daemon.names() == [f"veth0-tc-ingress-{place}" for place in places]
    daemon.ctl("tc", "filter", "del", *ON_V0)
    assert (tc_ids(), daemon.names()) == ([], [])


def test_taken_place_is_refused_and_replaced_on_demand(veth: Veth, daemon: Daemon) -> None:
    place = (*ON_V0, "pref", "7", "handle", "1", "bpf", "da", "obj")
    daemon.ctl("tc", "filter", "add", *place, LEGACY)
    before = tc_ids()
    assert "already exists" in daemon.ctl("tc", "filter", "add", *place, COUNT, "sec", "tc", status=2)
    assert tc_ids() == before
    daemon.ctl("tc", "filter", "replace", *place, COUNT, "sec", "tc")
    assert daemon.attachment("veth0-tc-ingress-7-1")["program"] == "count_out"
    assert len(tc_ids()) == 1


def test_protocol_and_class_are_kept(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "protocol", "ip", "bpf", "da", "classid", "1:10", "obj", LEGACY)
    assert daemon.names() == ["veth0-tc-ingress-49152-1"]
    assert "protocol ip pref 49152 bpf chain 0 handle 0x1 flowid 1:10" in tc("filter", "show", *ON_V0)


def test_what_the_daemon_has_not_is_made_directly(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "bpf", "bytecode", "1,6 0 0 0")
    daemon.ctl("tc", *ADD, "bpf", "obj", LEGACY)
    daemon.ctl("tc", *ADD, "chain", "3", "bpf", "da", "obj", LEGACY)
    daemon.ctl("tc", "--direct", *ADD, "bpf", "da", "obj", LEGACY)
    assert daemon.names() == []
    assert len(tc_ids()) == 3
    daemon.ctl("tc", "filter", "del", *ON_V0)
    daemon.ctl("tc", "filter", "del", *ON_V0, "chain", "3")
    assert tc_ids() == []


def test_deletion_that_the_kernel_refuses_leaves_the_daemons_filter(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "pref", "7", "protocol", "ip", "bpf", "da", "obj", LEGACY)
    for place in (("pref", "7", "protocol", "arp"), ("protocol", "ip"), ("pref", "8"), ("handle", "1", "bpf")):
        daemon.ctl("tc", "filter", "del", *ON_V0, *place, status=2)
    assert [daemon.attachment("veth0-tc-ingress-7-1")["prog_id"]] == tc_ids()
    daemon.ctl("tc", "filter", "del", *ON_V0, "pref", "7", "protocol", "ip")
    assert (tc_ids(), daemon.names()) == ([], [])


def test_clsact_goes_with_the_daemons_filters(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "bpf", "da", "obj", LEGACY)
    daemon.ctl("tc", "filter", "add", "dev", "veth0", "egress", "bpf", "da", "obj", LEGACY)
    daemon.ctl("tc", "qdisc", "del", "dev", "veth0", "clsact")
    assert daemon.names() == []
    assert "clsact" not in tc("qdisc", "show", "dev", "veth0")


def test_entry_of_a_file_is_detached_until_it_is_attached_again(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(tail_entry(priority=9))
    daemon.reload()
    assert tc_ids()
    daemon.ctl("tc", "filter", "del", *ON_V0, "pref", "9")
    assert (tc_ids(), daemon.attachment("tail")["state"]) == ([], "detached")


def test_refusals_have_the_status_of_tc(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("tc", *ADD, "bpf", "da", "obj", str(OBJECTS / "reject.bpf.o"), "program", "bad", status=1)
    daemon.ctl("tc", *ADD, "bpf", "da", "obj", COUNT, "sec", "nosuch", status=1)
    daemon.ctl("tc", "filter", "del", *ON_V0, "pref", "3", status=2)
    daemon.ctl("tc", "filter", "change", *ON_V0, "pref", "3", "handle", "1", "bpf", "da", "obj", LEGACY, status=2)
    tc("qdisc", "del", "dev", "veth0", "clsact")
    daemon.ctl("tc", *ADD, "bpf", "da", "obj", LEGACY, status=2)
    assert daemon.names() == []

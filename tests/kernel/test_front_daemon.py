"""`xdploaderctl ip link set ... xdp` beside a running daemon: whose the attachment is, and how it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, Daemon, counters, daemon_in, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, add_veth, ip

pytestmark = pytest.mark.kernel
COUNT, PASS, LEGACY = (str(OBJECTS / f"{name}.bpf.o") for name in ("xdp_count", "xdp_pass", "legacy_pin2"))
SET = ("link", "set", "dev", "veth0")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        made.start()
        yield made


def test_attachment_is_the_daemons_and_comes_back_with_its_interface(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", *SET, "xdp", "obj", COUNT)
    status = daemon.attachment("veth0-xdp")
    assert (status["state"], status["origin"], status["prog_id"]) == ("attached", "runtime", xdp_id())
    veth.send_in(2)
    assert sum(counters("xdp_frames")) == 2
    ip("link", "del", "veth0")
    add_veth("veth0", "peer0", veth.namespace)
    wait_for(xdp_id, "the program is on the new interface")
    daemon.ctl("ip", *SET, "xdp", "off")
    assert xdp_id() == 0
    assert daemon.names() == []


def test_program_of_the_daemon_is_replaced_with_force_only(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", *SET, "xdpgeneric", "obj", COUNT, "sec", "xdp")
    before = xdp_id()
    assert "attached already" in daemon.ctl("ip", *SET, "xdpgeneric", "obj", PASS, status=2)
    assert xdp_id() == before
    daemon.ctl("ip", "-force", *SET, "xdpgeneric", "obj", LEGACY)
    assert daemon.attachment("veth0-xdp")["program"] == "xdp_main"
    assert daemon.attachment("veth0-xdp")["dialect"] == "legacy"
    daemon.ctl("ip", *SET, "xdpgeneric", "off")
    assert xdp_id() == 0


def test_other_mode_than_the_daemons_is_left_in_place(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", *SET, "xdpgeneric", "obj", COUNT)
    daemon.ctl("ip", *SET, "xdpdrv", "off")
    assert xdp_id()
    daemon.ctl("ip", *SET, "xdp", "off")
    assert xdp_id() == 0


def test_entry_of_a_file_is_detached_until_it_is_attached_again(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.reload()
    assert xdp_id()
    daemon.ctl("ip", *SET, "xdp", "off")
    assert xdp_id() == 0
    assert daemon.attachment("edge")["state"] == "detached"


def test_other_settings_are_made_before(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", *SET, "mtu", "1400", "xdp", "obj", COUNT)
    assert "mtu 1400" in ip("link", "show", "veth0")
    assert daemon.attachment("veth0-xdp")["prog_id"] == xdp_id()
    daemon.ctl("ip", *SET, "mtu", "17", "xdp", "off", status=2)
    assert xdp_id()


def test_refused_object_has_the_status_of_ip(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", *SET, "xdp", "obj", str(OBJECTS / "reject.bpf.o"), "program", "bad", status=255)
    daemon.ctl("ip", *SET, "xdp", "obj", COUNT, "sec", "nosuch", status=255)
    daemon.ctl("ip", "link", "set", "dev", "nosuch0", "xdp", "obj", COUNT, status=1)
    assert daemon.names() == []


def test_direct_and_pinned_programs_are_not_the_daemons(veth: Veth, daemon: Daemon) -> None:
    daemon.ctl("ip", "--direct", *SET, "xdp", "obj", COUNT)
    assert daemon.names() == []
    assert xdp_id()
    daemon.ctl("ip", *SET, "xdp", "off")
    assert xdp_id() == 0


def test_named_socket_must_answer(veth: Veth, daemon: Daemon) -> None:
    daemon.end()
    assert "DaemonUnreachable" in daemon.ctl("ip", *SET, "xdp", "obj", COUNT, status=255)
    assert xdp_id() == 0

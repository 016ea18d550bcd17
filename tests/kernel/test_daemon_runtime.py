"""A real daemon: programs attached through the API, and how long they last."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.daemon import (
    OBJECTS,
    OWN_PINS,
    Daemon,
    counters,
    tc_ids,
    wait_for,
    xdp_entry,
    xdp_id,
)
from tests.support.netns import Veth, add_veth, ip, tc
from tests.support.old_kernel import NEEDS_TCX
from xdploaderd.errors import AttachError, FileError, HookBusyError, NoSuchAttachmentError, UsageError, VerifierError

pytestmark = pytest.mark.kernel

COUNT = OBJECTS / "xdp_count.bpf.o"
TC = OBJECTS / "tc_count.bpf.o"
ENTRY = {"interface": "veth0", "hook": "xdp", "object": str(COUNT)}


def tc_entry(**fields: object) -> dict[str, object]:
    return {"name": "tc", "interface": "veth0", "hook": "tc-ingress", "object": TC, "program": "count_in", **fields}


def kept(daemon: Daemon) -> list[str]:
    return sorted(str(path.relative_to(daemon.state)) for path in daemon.state.glob("objects/*/*"))


def attach_open(daemon: Daemon, path: Path, **more: object) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        entry = {**ENTRY, "object": str(path), **more}
        reply = daemon.call("AttachObject", entry=entry, descriptor=0, descriptors=(fd,))
    finally:
        os.close(fd)
    return str(reply["attachment"]["name"])


def test_object_by_descriptor_is_attached_kept_and_outlives_its_file(
    veth: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.start()
    copy = tmp_path / "mine.o"
    copy.write_bytes(COUNT.read_bytes())
    assert attach_open(daemon, copy) == "veth0-xdp"
    copy.unlink()
    veth.send_in(3)
    assert sum(counters("xdp_frames")) == 3
    status = daemon.attachment("veth0-xdp")
    assert (status["state"], status["origin"], status["prog_id"]) == ("attached", "runtime", xdp_id())
    assert status["program"] == "xdp_count"
    (path,) = daemon.state.glob("objects/*/*")
    assert (path.name, str(path)) == ("mine.o", status["object"])
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_runtime_entry_lasts_over_restart_reload_and_re_creation(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT)
    before, objects = xdp_id(), kept(daemon)
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert (xdp_id(), kept(daemon)) == (before, objects)
    daemon.reload()
    assert (xdp_id(), daemon.names()) == (before, ["veth0-xdp"])
    ip("link", "del", "veth0")
    wait_for(lambda: daemon.attachment("veth0-xdp")["state"] == "waiting", "waiting")
    add_veth(veth.name, veth.peer, veth.namespace)
    wait_for(lambda: xdp_id() == before, "the same program again")


def test_runtime_entry_ends_with_the_boot(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT)
    daemon.end()
    state = (daemon.state / "runtime").read_bytes().partition(b"\n")[2]
    other = json.dumps({**json.loads(state), "boot_id": "another"}).encode()
    (daemon.state / "runtime").write_bytes(hashlib.sha256(other).hexdigest().encode() + b"\n" + other)
    daemon.orphan_grace = 0  # a boot takes the program with it
    daemon.start()
    assert daemon.names() == []
    assert kept(daemon) == []
    assert not xdp_id()


def test_detach_of_a_runtime_entry_forgets_it_with_its_object(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(
        {**xdp_entry(), "hook": "tc-ingress", "object": OBJECTS / "legacy_tail.bpf.o", "program": "tail_main"}
    )
    daemon.start()
    attach_open(daemon, COUNT)
    assert daemon.call("Detach", name="veth0-xdp")["attachment"]["state"] == "detached"
    assert not xdp_id()
    assert daemon.names() == ["edge"]
    assert kept(daemon) == []
    assert not (OWN_PINS / "veth0-xdp").exists()
    daemon.end()
    daemon.start()
    assert daemon.names() == ["edge"]


def test_refused_program_leaves_what_ran_before(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT)
    before, objects = xdp_id(), kept(daemon)
    with pytest.raises(VerifierError):
        attach_open(daemon, OBJECTS / "reject.bpf.o", hook="xdp", program="bad")
    assert (xdp_id(), kept(daemon), daemon.names()) == (before, objects, ["veth0-xdp"])
    assert daemon.attachment("veth0-xdp")["state"] == "attached"


def test_refused_first_program_leaves_nothing(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(VerifierError):
        attach_open(daemon, OBJECTS / "reject.bpf.o", hook="tc-ingress", program="bad")
    assert (daemon.names(), kept(daemon)) == ([], [])
    assert not OWN_PINS.exists()
    assert "clsact" not in tc("qdisc", "show", "dev", "veth0")


def test_new_object_for_a_runtime_entry_replaces_its_program_in_place(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT)
    first = xdp_id()
    attach_open(daemon, OBJECTS / "xdp_count_v2.bpf.o")
    assert xdp_id() not in (0, first)
    assert len(kept(daemon)) == 1
    assert daemon.names() == ["veth0-xdp"]


def test_path_stays_a_path_and_is_read_again_at_reload(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    copy = tmp_path / "mine.o"
    copy.write_bytes(COUNT.read_bytes())
    daemon.call("AttachObject", entry={**ENTRY, "object": str(copy), "name": "mine"})
    first = xdp_id()
    assert kept(daemon) == []
    copy.write_bytes((OBJECTS / "xdp_count_v2.bpf.o").read_bytes())
    daemon.reload()
    assert xdp_id() not in (0, first)


def test_permanent_entry_is_a_drop_in_and_lasts_over_the_boot(veth: Veth, daemon: Daemon) -> None:
    daemon.whole_directory = True
    daemon.start()
    daemon.ctl("attach", "--object", str(COUNT), "--interface", "veth0", "--hook", "xdp", "--permanent", "edge")
    file = daemon.directory / "conf.d/50-edge.yaml"
    assert f'object: "{daemon.data}/objects/' in file.read_text()
    before = xdp_id()
    daemon.reload()
    daemon.end()
    for cache in daemon.state.iterdir():
        if cache.is_file():
            cache.unlink()
    daemon.start()
    status = daemon.attachment("edge")
    assert (status["state"], status["origin"]) == ("attached", "permanent")
    assert before
    assert "edge" in daemon.ctl("detach", "edge")
    assert file.exists()
    daemon.ctl("detach", "--permanent", "edge")
    assert not file.exists()
    assert daemon.names() == []
    assert list(daemon.data.glob("objects/*")) == []
    assert not xdp_id()


def test_refused_object_leaves_a_detached_entry_detached(veth: Veth, daemon: Daemon) -> None:
    daemon.whole_directory = True
    daemon.start()
    where = ("--interface", "veth0", "--hook", "xdp", "--permanent", "edge")
    daemon.ctl("attach", "--object", str(COUNT), *where)
    daemon.ctl("detach", "edge")
    refused = daemon.ctl("attach", "--object", str(OBJECTS / "reject.bpf.o"), "--program", "bad", *where, status=71)
    assert "verifier" in refused
    assert (daemon.attachment("edge")["state"], xdp_id()) == ("detached", 0)
    daemon.end()
    daemon.start()
    assert (daemon.attachment("edge")["state"], xdp_id()) == ("detached", 0)
    daemon.ctl("attach", "edge")
    assert xdp_id()


def test_foreign_program_is_taken_over_only_with_force(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    ip("link", "set", "veth0", "xdp", "obj", str(OBJECTS / "xdp_count_v2.bpf.o"), "sec", "xdp")
    foreign = xdp_id()
    with pytest.raises(HookBusyError):
        attach_open(daemon, COUNT)
    assert (xdp_id(), daemon.names()) == (foreign, [])
    words = ("attach", "--object", str(COUNT), "--interface", "veth0", "--hook", "xdp", "--force")
    assert "attached" in daemon.ctl(*words)
    assert xdp_id() not in (0, foreign)


def test_configured_name_and_place_are_the_configuration_s(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    with pytest.raises(UsageError, match="is that of attachment 'edge'"):
        attach_open(daemon, COUNT)
    with pytest.raises(UsageError, match="'edge' is configured"):
        attach_open(daemon, COUNT, name="edge")


def test_configuration_takes_over_a_runtime_entry_without_a_change(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT, name="edge")
    before = xdp_id()
    daemon.configure(xdp_entry())
    daemon.reload()
    assert xdp_id() == before
    assert (daemon.names(), daemon.attachment("edge")["origin"]) == (["edge"], "configured")
    assert kept(daemon) == []


def test_two_filters_of_one_hook_get_names_of_their_own(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    tail = OBJECTS / "legacy_tail.bpf.o"
    more: dict[str, object] = {"hook": "tc-ingress", "program": "tail_main"}
    assert attach_open(daemon, tail, **more) == "veth0-tc-ingress"
    assert attach_open(daemon, tail, **more, priority=10) == "veth0-tc-ingress-10-1"
    assert len(tc_ids()) == 2


def test_protocol_and_class_of_a_filter_are_those_of_its_entry(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    more: dict[str, object] = {"hook": "tc-egress", "program": "tail_main"}
    attach_open(daemon, OBJECTS / "legacy_tail.bpf.o", **more, protocol="ipv6", classid="1:2a")
    shown = tc("filter", "show", "dev", "veth0", "egress")
    assert "protocol ipv6 pref 1 bpf" in shown
    assert "flowid 1:2a" in shown or "classid 1:2a" in shown
    before = tc_ids(direction="egress")
    attach_open(daemon, OBJECTS / "legacy_tail.bpf.o", **more, protocol="ipv6", classid="1:2b")
    assert "1:2b" in tc("filter", "show", "dev", "veth0", "egress")
    assert tc_ids(direction="egress") == before
    with pytest.raises(AttachError, match="for protocol ipv6, wanted for protocol all"):
        attach_open(daemon, OBJECTS / "legacy_tail.bpf.o", **more)
    assert tc_ids(direction="egress") == before
    daemon.call("Detach", name="veth0-tc-egress")
    assert "clsact" not in tc("qdisc", "show", "dev", "veth0")


def test_what_is_no_regular_file_is_refused(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    reading, writing = os.pipe()
    try:
        with pytest.raises(FileError, match="not a regular file"):
            daemon.call("AttachObject", entry=ENTRY, descriptor=0, descriptors=(reading,))
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(FileError, match="not a regular file"):
        attach_open(daemon, Path("/dev/zero"))


def test_every_change_leaves_a_line_that_names_the_caller(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    attach_open(daemon, COUNT)
    daemon.call("Detach", name="veth0-xdp")
    lines = [line for line in daemon.log().splitlines() if "audit:" in line]
    assert f"attach-object 'veth0-xdp' by uid 0, process {os.getpid()}, over varlink, object sha256 " in lines[0]
    assert ", was nothing, is attached with program " in lines[0]
    assert f"detach 'veth0-xdp' by uid 0, process {os.getpid()}" in lines[1]
    assert ", was attached with program " in lines[1]
    assert lines[1].endswith(", is nothing: done")
    with pytest.raises(NoSuchAttachmentError):
        daemon.call("Attach", name="nobody")
    failed = daemon.log().splitlines()[-1]
    assert f"audit: attach 'nobody' by uid 0, process {os.getpid()}" in failed
    assert "is nothing: no attachment named 'nobody'" in failed


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"protocol": "ip"}, {"protocol": "ipv6", "allow_gap": True}, ("protocol ip)", "protocol ipv6)")),
        ({"classid": "1:2"}, {"classid": "a:3"}, ("class 1:2)", "class a:3)")),
        pytest.param(
            {"attach": "link", "order": "first"},
            {"attach": "link", "order": "last"},
            (", order first)", ", order last)"),
            marks=NEEDS_TCX,
        ),
    ],
)
def test_change_of_the_place_alone_leaves_a_line_too(
    veth: Veth, daemon: Daemon, before: dict[str, object], after: dict[str, object], told: tuple[str, str]
) -> None:
    daemon.configure(tc_entry(**before))
    daemon.start()
    daemon.configure(tc_entry(**after))
    daemon.call("Reload")
    (line,) = (line for line in daemon.log().splitlines() if "audit: reload 'tc'" in line)
    was, _, now = line.partition(", is attached with program ")
    assert (told[0] in was, told[1] in now) == (True, True), line


def test_runtime_entry_by_match_is_for_each_interface_that_fits(veth: Veth, daemon: Daemon) -> None:
    ip("link", "add", "veth8", "type", "veth", "peer", "name", "other8")
    daemon.start()
    words = ("--object", str(COUNT), "--match", "name=veth[08]", "--match", "driver=veth", "--hook", "xdp")
    told = daemon.ctl("attach", *words, "--maps", "shared", "--on-foreign", "restore", "all")
    assert "all: attached" in told
    assert xdp_id("veth0") == xdp_id("veth8") != 0
    daemon.end()
    daemon.start()
    assert daemon.names() == ["all@veth0", "all@veth8"]
    ip("link", "set", "veth8", "xdp", "off")
    wait_for(lambda: xdp_id("veth8") == xdp_id("veth0"), "restored")
    daemon.call("Detach", name="all")
    assert (xdp_id("veth0"), xdp_id("veth8"), daemon.names()) == (0, 0, [])
    ip("link", "del", "veth8")

"""A real daemon with entries for several interfaces: which get a program, and what becomes of it as they change."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, SLOWNESS, Daemon, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import in_namespace, ip, new_namespace

pytestmark = pytest.mark.kernel

PAIRS = 10


@pytest.fixture
def links() -> Iterator[None]:
    """Interfaces m1 and m2, whose peers are p1 and p2."""
    for number in (1, 2):
        ip("link", "add", f"m{number}", "type", "veth", "peer", "name", f"p{number}")
    try:
        yield
    finally:
        text = "".join(f"link del {name}\n" for name in link_names() if name[0] in "mpw")
        ip("-force", "-batch", "-", text=text)


def link_names() -> list[str]:
    """Return one end of each pair: with it the other goes."""
    names = [line.split(": ")[1].split("@")[0] for line in ip("-o", "link", "show").splitlines()]
    return [name for name in names if not name.startswith("p") and name != "lo"]


def entry(name: str = "all", match: str = "{name: m*}", **fields: object) -> dict[str, object]:
    """Return an entry of XDP that names its interfaces by `match`."""
    made = {"name": name, "match": match, "hook": "xdp", "object": OBJECTS / "xdp_count.bpf.o"}
    return {**made, "program": "xdp_count", **fields}


def states(daemon: Daemon) -> dict[str, str]:
    """Return the state of every attachment."""
    return {a["name"]: a["state"] for a in daemon.call("List")["attachments"]}


@pytest.mark.usefixtures("links")
def test_glob_makes_an_attachment_for_each_interface(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    assert states(daemon) == {"all@m1": "attached", "all@m2": "attached"}
    assert 0 not in (xdp_id("m1"), xdp_id("m2"))
    assert (xdp_id("p1"), xdp_id("p2")) == (0, 0)
    assert sorted(path.name for path in OWN_PINS.iterdir()) == ["all@m1", "all@m2"]
    ip("link", "add", "m3.7", "type", "veth", "peer", "name", "p3")
    wait_for(lambda: states(daemon).get("all@m3.7") == "attached", "the new interface")
    assert (OWN_PINS / "all@m3%2e7/prog").exists()
    assert daemon.attachment("all@m3.7")["prog_id"] == xdp_id("m3.7")


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    "match",
    [
        "{altname: 'uplink-*'}",
        "{altname: uplink-one}",
        "{mac: '02:00:00:00:00:AA'}",
        "{driver: veth, name: m1}",
        "{name: '[lm]*', mac: '02-00-00-00-00-aa'}",
    ],
)
def test_all_that_is_given_must_hold(daemon: Daemon, match: str) -> None:
    ip("link", "set", "m1", "address", "02:00:00:00:00:aa")
    ip("link", "property", "add", "dev", "m1", "altname", "uplink-one")
    daemon.configure(entry(match=match))
    daemon.start()
    (status,) = daemon.call("List")["attachments"]
    assert (status["interface"], status["state"], status["entry"]) == ("m1", "attached", "all")
    assert xdp_id("m1")
    assert not xdp_id("m2")
    ip("link", "set", "m2", "address", "02:00:00:00:00:ab")


@pytest.mark.usefixtures("links")
def test_exact_name_beats_the_glob_without_a_gap(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    assert xdp_id("m1")
    daemon.configure(entry(), xdp_entry("edge", interface="m1"))
    daemon.reload()
    assert states(daemon) == {"all@m2": "attached", "edge": "attached"}
    assert daemon.attachment("edge")["prog_id"] == xdp_id("m1")
    assert sorted(path.name for path in OWN_PINS.iterdir()) == ["all@m2", "edge"]
    daemon.configure(entry())
    daemon.reload()
    assert states(daemon) == {"all@m1": "attached", "all@m2": "attached"}


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("other", [{"attach": "netlink"}, {"mode": "skb"}], ids=["kind", "mode"])
def test_exact_name_that_beats_the_glob_with_a_gap_leaves_no_orphan(daemon: Daemon, other: dict[str, object]) -> None:
    daemon.configure(entry(attach="link"))
    daemon.start()
    daemon.configure(entry(attach="link"), xdp_entry("edge", interface="m1", allow_gap=True, attach="link") | other)
    daemon.reload()
    assert states(daemon) == {"all@m2": "attached", "edge": "attached"}
    assert daemon.attachment("edge")["prog_id"] == xdp_id("m1")
    assert sorted(path.name for path in OWN_PINS.iterdir()) == ["all@m2", "edge"]
    assert daemon.call("Status")["status"]["orphans"] == []


@pytest.mark.usefixtures("links")
def test_two_globs_on_one_interface_are_told_and_the_others_go_on(daemon: Daemon) -> None:
    daemon.configure(entry(), entry("two", "{name: '*2'}"))
    daemon.start()
    assert states(daemon) == {"all@m1": "attached", "all@m2": "failed", "two@m2": "failed", "two@p2": "attached"}
    reason = daemon.attachment("all@m2")["reason"]
    assert "'all' and 'two'" in reason
    assert "'m2'" in reason
    assert xdp_id("m1")
    assert not xdp_id("m2")


@pytest.mark.usefixtures("links")
def test_f12_renamed_interface_keeps_its_program_within_the_glob_and_loses_it_outside(daemon: Daemon) -> None:
    daemon.configure(entry(), entry("out", hook="tc-ingress", object=OBJECTS / "std_globals.bpf.o", program="globals"))
    daemon.start()
    before = xdp_id("m1"), tc_ids("m1")
    changes = daemon.changes()
    ip("link", "set", "m1", "name", "m9")
    wait_for(lambda: states(daemon).get("all@m9") == states(daemon).get("out@m9") == "attached", "the new name")
    assert (xdp_id("m9"), tc_ids("m9")) == before
    assert [line for line in daemon.log().splitlines() if "renamed" in line]
    assert "all@m1" not in states(daemon)
    assert changes <= daemon.changes()
    ip("link", "set", "m9", "name", "w9")
    wait_for(lambda: not xdp_id("w9") and not tc_ids("w9"), "detached outside of the glob")
    wait_for(lambda: sorted(path.name for path in OWN_PINS.iterdir()) == ["all@m2", "out@m2"], "their pins gone")
    ip("link", "set", "w9", "name", "m5")
    wait_for(lambda: xdp_id("m5") and tc_ids("m5"), "attached within it")


@pytest.mark.usefixtures("links")
def test_f12_program_follows_its_interface_to_the_name_of_one_that_is_gone(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    before = xdp_id("m1")
    ip("link", "del", "m2")
    wait_for(lambda: "all@m2" not in states(daemon), "the other is gone")
    ip("link", "set", "m1", "name", "m2")
    wait_for(lambda: states(daemon) == {"all@m2": "attached"}, "the new name")
    assert xdp_id("m2") == before
    assert [path.name for path in OWN_PINS.iterdir()] == ["all@m2"]


@pytest.mark.usefixtures("links")
def test_program_stays_where_a_rename_makes_two_globs_fit_and_the_status_tells_of_it(daemon: Daemon) -> None:
    daemon.configure(entry(), entry("two", "{name: '*9'}"))
    daemon.start()
    before = xdp_id("m1")
    ip("link", "set", "m1", "name", "m9")
    wait_for(lambda: states(daemon).get("all@m9") == "failed", "both fit")
    wait_for(lambda: daemon.attachment("all@m9")["prog_id"] == before, "what runs is told")
    assert "'all' and 'two'" in daemon.attachment("two@m9")["reason"]
    assert xdp_id("m9") == before
    daemon.configure(entry())
    daemon.reload()
    assert states(daemon) == {"all@m2": "attached", "all@m9": "attached"}
    assert xdp_id("m9") == before


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("kind", ["netlink", "link"])
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(("m1 m4", "m2 m1"), id="chain"),
        pytest.param(("m1 w1", "m2 m1", "m3 m2", "w1 m3"), id="circle"),
        pytest.param(("m1 w1", "m2 m1"), id="out of the glob"),
    ],
)
def test_f12_names_passed_on_before_anybody_looks_leave_every_program_on_its_interface(
    daemon: Daemon, steps: tuple[str, ...], kind: str
) -> None:
    ip("link", "add", "m3", "type", "veth", "peer", "name", "p3")
    tc = {"hook": "tc-ingress", "object": OBJECTS / "tc_count.bpf.o", "program": "count_in"}
    daemon.configure(entry(attach=kind), entry("in") | tc)
    daemon.start()
    before = on_interfaces()
    os.kill(daemon.pid, signal.SIGSTOP)
    ip("-batch", "-", text="".join(f"link set {old} name {new}\n" for old, new in map(str.split, steps)))
    os.kill(daemon.pid, signal.SIGCONT)
    names = link_names()
    wanted = sorted(f"{one}@{name}" for one in ("all", "in") for name in names if name[0] == "m")
    wait_for(lambda: sorted(path.name for path in OWN_PINS.iterdir()) == wanted, "pins of these names alone")
    wait_for(lambda: states(daemon) == dict.fromkeys(wanted, "attached"), "all attached")
    outside: dict[int, tuple[int, list[int]]] = {socket.if_nametoindex(n): (0, []) for n in names if n[0] != "m"}
    assert on_interfaces() == before | outside
    assert not [line for line in daemon.log().splitlines() if "replaced" in line or "somebody" in line]
    daemon.end()
    daemon.start()
    assert on_interfaces() == before | outside


def on_interfaces() -> dict[int, tuple[int, list[int]]]:
    """Return the programs of every interface by its index."""
    return {socket.if_nametoindex(name): (xdp_id(name), tc_ids(name)) for name in link_names()}


@pytest.mark.usefixtures("links")
def test_f12_interface_that_comes_back_from_another_namespace_is_ours_as_before(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    before = xdp_id("m1")
    away = new_namespace()
    try:
        ip("link", "set", "m1", "netns", f"/proc/{os.getpid()}/fd/{away}")
        wait_for(lambda: "all@m1" not in states(daemon), "gone")
        in_namespace(away, lambda: ip("link", "set", "m1", "netns", str(os.getpid())))
        wait_for(lambda: states(daemon).get("all@m1") == "attached", "back")
        assert xdp_id("m1") == before
    finally:
        os.close(away)


@pytest.mark.usefixtures("links")
def test_names_and_addresses_that_are_given_and_taken_later_are_followed(daemon: Daemon) -> None:
    for name in ("m1", "m2"):  # the kernel tells nobody of the alternative names of an interface that is down
        ip("link", "set", name, "up")
    daemon.configure(entry("named", "{altname: 'uplink-*'}"), entry("card", "{mac: '02:00:00:00:00:cc'}"))
    daemon.start()
    assert states(daemon) == {"named": "idle", "card": "idle"}
    ip("link", "property", "add", "dev", "m1", "altname", "uplink-one")
    ip("link", "set", "m2", "address", "02:00:00:00:00:cc")
    wait_for(lambda: states(daemon) == {"named@m1": "attached", "card@m2": "attached"}, "both fit now")
    assert 0 not in (xdp_id("m1"), xdp_id("m2"))
    ip("link", "property", "del", "dev", "m1", "altname", "uplink-one")
    ip("link", "set", "m2", "address", "02:00:00:00:00:dd")
    wait_for(lambda: states(daemon) == {"named": "idle", "card": "idle"}, "neither fits any more")
    assert (xdp_id("m1"), xdp_id("m2")) == (0, 0)


@pytest.mark.usefixtures("links")
def test_detach_and_attach_take_one_interface_or_the_whole_entry(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    before = xdp_id("m1"), xdp_id("m2")
    daemon.call("Detach", name="all@m1")
    assert (xdp_id("m1"), xdp_id("m2")) == (0, before[1])
    daemon.end()
    daemon.start()
    assert states(daemon) == {"all@m1": "detached", "all@m2": "attached"}
    daemon.call("Attach", name="all")
    assert 0 not in (xdp_id("m1"), xdp_id("m2"))
    daemon.ctl("detach", "all")
    assert (xdp_id("m1"), xdp_id("m2")) == (0, 0)
    assert "as a whole" in daemon.ctl("attach", "all@m1", status=64)
    assert "on m1, m2" in daemon.ctl("attach", "all")


@pytest.mark.usefixtures("links")
def test_entry_that_no_interface_fits_is_idle_and_nothing_is_degraded(daemon: Daemon) -> None:
    daemon.configure(entry(match="{name: ppp*}"))
    daemon.start()
    assert states(daemon) == {"all": "idle"}
    assert not daemon.call("Status")["status"]["degraded"]


@pytest.mark.usefixtures("links")
def test_program_without_an_entry_is_listed_runs_on_and_is_swept(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    before = xdp_id("m1"), xdp_id("m2")
    daemon.end()
    daemon.configure()
    daemon.start()
    assert (xdp_id("m1"), xdp_id("m2")) == before
    told = daemon.ctl("orphans")
    assert f"orphan all@m1: program {before[0]} (xdp_count), on xdp of 'm1'" in told
    assert "no orphan is named 'other'" in daemon.ctl("orphans", "--sweep", "other", status=66)
    assert "all@m2" in daemon.ctl("orphans", "--sweep", "all@m1") + daemon.ctl("orphans")
    assert (xdp_id("m1"), xdp_id("m2")) == (0, before[1])
    daemon.end()
    daemon.orphan_grace = 0.3
    daemon.start()
    wait_for(lambda: not xdp_id("m2"), "swept after the grace time")
    wait_for(lambda: not OWN_PINS.exists(), "its pins gone")


@pytest.mark.usefixtures("links")
def test_orphan_gives_its_place_to_an_entry_without_a_gap(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    daemon.end()
    daemon.configure(xdp_entry("edge", interface="m1"))
    daemon.start()
    assert daemon.attachment("edge")["prog_id"] == xdp_id("m1")
    assert "replaced 'edge'" in daemon.log()


@pytest.mark.usefixtures("links")
def test_f11_g9_interfaces_made_anew_get_the_loaded_program_again(daemon: Daemon) -> None:
    daemon.configure(entry(), entry("in", hook="tc-ingress", object=OBJECTS / "std_globals.bpf.o", program="globals"))
    daemon.start()
    before = xdp_id("m1"), tc_ids("m1")
    for _ in range(10):
        ip("link", "del", "m1")
        ip("link", "add", "m1", "type", "veth", "peer", "name", "p1")
        wait_for(lambda: (xdp_id("m1"), tc_ids("m1")) == before, "the same programs")
    assert sorted(path.name for path in OWN_PINS.iterdir()) == ["all@m1", "all@m2", "in@m1", "in@m2"]


@pytest.mark.usefixtures("links")
def test_g9_storm_of_events_leaves_requests_answered_and_all_as_wanted(daemon: Daemon) -> None:
    daemon.configure(entry())
    daemon.start()
    storm = "".join(f"link set m2 mtu {1400 + number % 2}\n" for number in range(1000))
    began = time.monotonic()
    ip("-force", "-batch", "-", text=storm + "link del m1\nlink add m1 type veth peer name p1\n" + storm)
    daemon.call("Status")
    wait_for(lambda: states(daemon) == {"all@m1": "attached", "all@m2": "attached"}, "all as wanted")
    assert time.monotonic() - began < 10 * SLOWNESS


def test_g8_restart_adopts_a_shared_program_without_a_kernel_write(daemon: Daemon, tmp_path: Path) -> None:
    made = "".join(f"link add g{number} type veth peer name h{number}\n" for number in range(PAIRS))
    ip("-batch", "-", text=made)
    try:
        what = {"hook": "tc-ingress", "object": OBJECTS / "std_globals.bpf.o", "program": "globals"}
        daemon.configure(entry(match="{driver: veth}") | what | {"maps": "shared"})
        daemon.start()
        assert Counter(states(daemon).values()) == {"attached": 2 * PAIRS}
        before = daemon.changes()
        daemon.end()
        trace = tmp_path / "trace"
        daemon.start(prefix=("strace", *to_file(trace)))
        assert Counter(states(daemon).values()) == {"attached": 2 * PAIRS}
        assert daemon.changes() == before
        assert trace.read_text().count("BPF_OBJ_GET") >= 2 * PAIRS
        assert kernel_writes(trace) == []
    finally:
        ip("-force", "-batch", "-", text="".join(f"link del g{number}\n" for number in range(PAIRS)))

"""A real daemon whose pins somebody removes: what runs is known by its record, and pinned again."""

import shutil
import subprocess
from collections.abc import Mapping

import pytest

from tests.kernel.test_daemon_rights import UNIT_RIGHTS
from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, tc_ids, xdp_entry, xdp_id
from tests.support.netns import Veth, ip
from tests.support.tools import bpftool_json
from xdploaderd.errors import PinError

pytestmark = pytest.mark.kernel
EDGE = xdp_entry()
PINS = ("edge/prog", "tail/prog")


def started(daemon: Daemon, edge: Mapping[str, object] = EDGE) -> tuple[int, list[int]]:
    """Start with an XDP program and a filter; return their ids."""
    daemon.configure(edge, tail_entry())
    daemon.start()
    return xdp_id(), tc_ids()


def pinned(name: str) -> int:
    """Return the id of the program pinned for an attachment, 0 for none."""
    path = OWN_PINS / name / "prog"
    return int(bpftool_json("prog", "show", "pinned", str(path))["id"]) if path.exists() else 0


def states(daemon: Daemon) -> dict[str, str]:
    return {one["name"]: one["state"] for one in daemon.call("List")["attachments"]}


@pytest.mark.parametrize("alive", [True, False])
def test_removed_pin_comes_back_and_the_program_stays_ours(veth: Veth, daemon: Daemon, *, alive: bool) -> None:
    before = started(daemon)
    if not alive:
        daemon.end()
    for pin in PINS:
        (OWN_PINS / pin).unlink()
    daemon.call("Attach", name="edge") if alive else daemon.start()
    assert states(daemon) == {"edge": "attached", "tail": "attached"}
    assert (xdp_id(), tc_ids()) == before
    assert (pinned("edge"), [pinned("tail")]) == before
    told = daemon.log()
    for name in ("edge", "tail"):
        assert f"pinned '{name}' again: program {pinned(name)} runs, and somebody removed its pin" in told
    daemon.configure(xdp_entry(object=OBJECTS / "xdp_count_v2.bpf.o"))
    daemon.reload()
    assert (xdp_id() not in (0, before[0]), tc_ids()) == (True, [])


def test_removed_directory_with_program_arrays_leads_to_a_whole_program_in_one_step(veth: Veth, daemon: Daemon) -> None:
    _, before = started(daemon)
    shutil.rmtree(OWN_PINS / "tail")
    daemon.call("Attach", name="edge")
    assert tc_ids() != before
    assert [pinned("tail")] == tc_ids()
    assert "somebody removed the pin of a program array" in daemon.log()
    assert states(daemon)["tail"] == "attached"


def test_removed_pin_of_a_program_array_leads_to_a_whole_program(veth: Veth, daemon: Daemon) -> None:
    _, before = started(daemon)
    (array,) = (OWN_PINS / "tail").glob("arrays_*/*")
    array.unlink()
    daemon.call("Attach", name="edge")
    assert tc_ids() != before
    assert len(list((OWN_PINS / "tail").glob("arrays_*/*"))) == 1
    after = daemon.log()
    daemon.reload()
    assert "replaced 'tail'" not in daemon.log().removeprefix(after)


@pytest.mark.parametrize("way", ["Detach", "Reload"])
def test_entry_that_ends_takes_a_program_without_a_pin_along(veth: Veth, daemon: Daemon, way: str) -> None:
    started(daemon)
    (OWN_PINS / "edge/prog").unlink()
    daemon.configure(tail_entry())
    daemon.call("Detach", name="edge") if way == "Detach" else daemon.call("Reload")
    assert xdp_id() == 0


def test_program_without_pin_and_entry_is_nobodys(veth: Veth, daemon: Daemon) -> None:
    before = started(daemon)
    daemon.end()
    shutil.rmtree(OWN_PINS / "edge")
    daemon.configure(tail_entry())
    daemon.orphan_grace = 0
    daemon.start()
    assert (xdp_id(), daemon.call("Status")["status"]["orphans"]) == (before[0], [])


def test_other_program_in_the_place_is_not_taken_for_ours(veth: Veth, daemon: Daemon) -> None:
    started(daemon)
    daemon.end()
    shutil.rmtree(OWN_PINS / "edge")
    ip("link", "set", "veth0", "xdp", "off")
    ip("-force", "link", "set", "veth0", "xdp", "obj", str(OBJECTS / "xdp_pass.bpf.o"), "sec", "xdp")
    theirs = xdp_id()
    daemon.start()
    assert (states(daemon)["edge"], xdp_id()) == ("foreign", theirs)


def test_link_stays_when_the_pin_of_its_program_goes(veth: Veth, daemon: Daemon) -> None:
    before = started(daemon, xdp_entry(attach="link"))
    (OWN_PINS / "edge/prog").unlink()
    daemon.call("Attach", name="tail")
    assert (xdp_id(), pinned("edge")) == (before[0], before[0])
    assert daemon.attachment("edge")["link_id"]


def test_without_the_right_to_look_the_entry_tells_how_to_pin_again(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start(prefix=UNIT_RIGHTS)
    before = xdp_id(), tc_ids()
    for pin in PINS:
        (OWN_PINS / pin).unlink()
    with pytest.raises(PinError, match="CAP_SYS_ADMIN"):
        daemon.call("Attach", name="tail")
    reasons = {one["name"]: one["reason"] for one in daemon.call("List")["attachments"]}
    assert states(daemon) == {"edge": "foreign", "tail": "foreign"}
    assert (xdp_id(), tc_ids()) == before
    assert list((OWN_PINS / "tail").glob("arrays_*/*")), "its tail calls work on"
    for name in ("edge", "tail"):
        told = reasons[name]
        assert "CAP_SYS_ADMIN" in told
        subprocess.run(told.split("`")[1], shell=True, check=True)
    daemon.call("Attach", name="edge")
    assert states(daemon) == {"edge": "attached", "tail": "attached"}
    assert (xdp_id(), tc_ids()) == before


@pytest.mark.parametrize(("new", "stays"), [("veth7", True), ("other0", False)])
def test_program_without_a_pin_follows_its_interface(veth: Veth, daemon: Daemon, new: str, *, stays: bool) -> None:
    entry = xdp_entry("all", match="{name: 'veth*'}")
    del entry["interface"]
    daemon.configure(entry)
    daemon.start()
    before = xdp_id()
    daemon.end()
    shutil.rmtree(OWN_PINS / "all@veth0")
    ip("link", "set", "veth0", "down")
    ip("link", "set", "veth0", "name", new)
    daemon.start()
    assert xdp_id(new) == (before if stays else 0)
    assert pinned(f"all@{new}") == (before if stays else 0)
    ip("link", "set", new, "name", "veth0")

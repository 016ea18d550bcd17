"""A runtime entry that ends by request where a glob has its hook next: its program runs then, or all stays."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tc_ids, xdp_entry, xdp_id
from tests.support.netns import Veth
from xdploaderd.errors import FileError, LoaderError

pytestmark = pytest.mark.kernel
XDP, TC, REJECTED = (str(OBJECTS / f"{name}.bpf.o") for name in ("xdp_count", "tc_count", "reject"))
GLOB = {"name": "all", "match": "{name: 'veth*'}", "hook": "tc-ingress", "object": REJECTED, "program": "bad"}
ENTRY = {"name": "mine", "interface": "veth0", "hook": "tc-ingress", "object": TC, "program": "count_in"}


def standing(daemon: Daemon) -> object:
    """Return what runs, what is pinned, what programs there are, and what the daemon wants, of the runtime entry."""
    known = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True).stdout
    programs = {prog["id"]: prog.get("pinned") for prog in json.loads(known) if prog["id"] in (*tc_ids(), xdp_id())}
    kept = sorted(map(str, OWN_PINS.rglob("*"))), sorted(path.name for path in (daemon.state / "objects").glob("*"))
    return programs, kept, (daemon.state / "runtime").read_bytes()


def test_runtime_entry_stays_where_the_glob_that_is_next_is_not_loaded(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(GLOB)
    daemon.start()
    with Path(TC).open("rb") as file:
        daemon.call("AttachObject", descriptors=(file.fileno(),), entry=ENTRY, descriptor=0)
    before = standing(daemon)
    with pytest.raises(LoaderError, match=r"'mine' stays, since 'all@veth0' would take its place.*detach 'all' first"):
        daemon.call("Detach", name="mine")
    assert standing(daemon) == before
    assert daemon.attachment("mine")["state"] == "attached"
    assert "would take its place" in daemon.log().split("audit: detach")[1]
    assert "stays, since" in daemon.ctl("detach", "mine", status=71)
    daemon.call("Detach", name="all")
    daemon.call("Detach", name="mine")
    assert (tc_ids(), daemon.attachment("all@veth0")["state"]) == ([], "detached")


def test_runtime_entry_stays_where_the_object_of_the_glob_is_not_there(
    veth: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.configure({**GLOB, "object": tmp_path / "none.o"})
    daemon.start()
    daemon.call("AttachObject", entry=ENTRY)
    before = standing(daemon)
    with pytest.raises(FileError, match="'mine' stays"):
        daemon.call("Detach", name="mine")
    assert standing(daemon) == before


def test_glob_takes_the_hook_of_a_runtime_entry_that_ends(veth: Veth, daemon: Daemon) -> None:
    daemon.configure({**GLOB, "object": TC, "program": "count_in"})
    daemon.start()
    (first,) = tc_ids()
    daemon.call("AttachObject", entry=ENTRY)
    (before,) = tc_ids()
    daemon.call("Detach", name="mine")
    (after,) = tc_ids()
    assert len({first, before, after}) == 3
    assert (daemon.names(), daemon.attachment("all@veth0")["prog_id"]) == (["all@veth0"], after)
    assert sorted(path.name for path in OWN_PINS.iterdir()) == ["all@veth0"]


def test_permanent_entry_that_stays_keeps_its_file(veth: Veth, daemon: Daemon) -> None:
    daemon.whole_directory = True
    daemon.configure(GLOB)
    daemon.start()
    daemon.call("AttachObject", entry=ENTRY, permanent=True)
    file = daemon.directory / "conf.d/50-mine.yaml"
    before = file.read_bytes(), tc_ids()
    with pytest.raises(LoaderError, match="'mine' stays"):
        daemon.call("Detach", name="mine", permanent=True)
    assert (file.read_bytes(), tc_ids()) == before
    daemon.configure()
    daemon.call("Reload")
    daemon.call("Detach", name="mine", permanent=True)
    assert (file.exists(), tc_ids()) == (False, [])


def test_configured_entry_that_is_detached_leaves_the_hook_empty(veth: Veth, daemon: Daemon) -> None:
    daemon.configure({**GLOB, "hook": "xdp", "object": XDP, "program": "xdp_count"}, xdp_entry())
    daemon.start()
    daemon.call("Detach", name="edge")
    assert (xdp_id(), daemon.attachment("edge")["state"]) == (0, "detached")

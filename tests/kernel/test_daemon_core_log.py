"""`core-log`: how the CO-RE relocations of what the daemon loaded came about, for as long as it is loaded."""

import json
import signal

import jsonschema
import pytest

from tests.support.daemon import OBJECTS, ROOT, Daemon, tail_entry, wait_for, xdp_entry, xdp_id
from tests.support.netns import ip
from xdploaderd.errors import NoCoreLogError, NoSuchAttachmentError

pytestmark = pytest.mark.kernel

SCHEMA = json.loads((ROOT / "docs/core-log.schema.json").read_text())
DEMO = OBJECTS / "demo_xdp.bpf.o"
CORE_ENTRY = xdp_entry(object=DEMO, program="demo_xdp")


def kept(daemon: Daemon) -> list[str]:
    return sorted(path.name for path in (daemon.state / "core").iterdir())


@pytest.mark.usefixtures("veth")
def test_record_is_that_of_prepare_and_survives_a_killed_daemon(daemon: Daemon) -> None:
    daemon.configure(CORE_ENTRY)
    daemon.start()
    told = json.loads(daemon.ctl("core-log", "edge", "--json"))
    jsonschema.validate(told, SCHEMA)
    prepared = json.loads(daemon.ctl("prepare", str(DEMO), "--json"))["reports"][0]["core_log"]
    assert told == prepared
    assert len(told) == 3
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert json.loads(daemon.ctl("core-log", "edge", "--json")) == told
    lines = daemon.ctl("core-log", "edge").splitlines()
    assert lines[0].startswith("prog 'demo_xdp': relo #0: <")
    assert any("matching candidate #0" in line for line in lines)


@pytest.mark.usefixtures("veth")
def test_record_goes_when_the_program_is_replaced_or_taken_out(daemon: Daemon) -> None:
    daemon.configure(CORE_ENTRY)
    daemon.start()
    assert kept(daemon) == [str(xdp_id())]
    daemon.configure(xdp_entry())
    daemon.reload()
    assert kept(daemon) == [str(xdp_id())]
    assert daemon.ctl("core-log", "edge", "--json") == "[]\n"
    assert "has no CO-RE relocations" in daemon.ctl("core-log", "edge")
    daemon.configure()
    daemon.reload()
    wait_for(lambda: not kept(daemon), "no record")


@pytest.mark.usefixtures("veth")
def test_legacy_program_has_an_empty_record(daemon: Daemon) -> None:
    daemon.configure(tail_entry())
    daemon.start()
    assert daemon.call("CoreLog", name="tail") == {"core_log": []}


@pytest.mark.usefixtures("veth")
def test_adopted_program_has_no_record_and_neither_has_one_that_waits(daemon: Daemon) -> None:
    daemon.whole_directory = True
    daemon.configure(xdp_entry("later", interface="veth9"))
    daemon.start()
    ip("link", "set", "veth0", "xdp", "obj", str(OBJECTS / "xdp_count.bpf.o"), "sec", "xdp")
    daemon.ctl("adopt", "--interface", "veth0", "--object", str(OBJECTS / "xdp_count.bpf.o"), "--name", "edge")
    with pytest.raises(NoCoreLogError, match="it was adopted"):
        daemon.call("CoreLog", name="edge")
    assert "NoCoreLog" in daemon.ctl("core-log", "later", status=66)
    with pytest.raises(NoSuchAttachmentError):
        daemon.call("CoreLog", name="nix")

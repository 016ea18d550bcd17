"""A real daemon with a protected interface: whatever changes what runs there is refused but on trial (`protect`)."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.test_daemon_rights import UNIT_RIGHTS
from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.errors import UsageError

pytestmark = pytest.mark.kernel
COUNT, COUNT_V2, TC = (str(OBJECTS / f"{name}.bpf.o") for name in ("xdp_count", "xdp_count_v2", "tc_count"))
ENTRY = {"name": "mine", "interface": "veth0", "hook": "xdp", "object": COUNT}
ON_TC = {"hook": "tc-ingress", "object": TC, "program": "count_in"}


def glob(match: str = "{name: 'veth*'}", **fields: object) -> dict[str, object]:
    return {"name": "all", "match": match, "hook": "xdp", "object": COUNT, "program": "xdp_count", **fields}


def configure(daemon: Daemon, *entries: dict[str, object], names: str = "veth0") -> None:
    daemon.configure(*entries)
    daemon.config.write_text(f"protect: [{names}]\n" + daemon.config.read_text())


def standing(daemon: Daemon) -> object:
    """Return what runs, what is pinned and what is wanted."""
    return xdp_id(), tc_ids(), sorted(map(str, OWN_PINS.rglob("*"))), daemon.names()


def all_refused(daemon: Daemon, *requests: tuple[str, dict[str, Any]]) -> None:
    """Make the requests, each of which must be refused, told in the audit log, and change nothing."""
    before = standing(daemon)
    for number, (method, given) in enumerate(requests, 1):
        with pytest.raises(UsageError, match="protected"):
            daemon.call(method, **given)
        assert standing(daemon) == before, (method, given)
        told = [line for line in daemon.log().splitlines() if "audit: " in line and "is protected" in line]
        assert len(told) == number, (method, given)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "count.o"
    shutil.copy(COUNT, made)
    return made


def made_stale(copy: Path) -> int:
    """Return the program that runs, and let its object have another one from now on."""
    running = xdp_id()
    assert running
    shutil.copy(COUNT_V2, copy)
    return running


def test_protected_interface_of_a_glob(veth: Veth, daemon: Daemon, copy: Path) -> None:
    configure(daemon, glob(object=copy))
    daemon.start()  # what starts is confirmed
    before = made_stale(copy)
    all_refused(
        daemon,
        ("Detach", {"name": "all"}),
        ("Detach", {"name": "all@veth0"}),
        ("Attach", {"name": "all"}),
        ("Attach", {"name": "all@veth0"}),
        ("AttachObject", {"entry": ENTRY}),
        ("AttachObject", {"entry": ENTRY, "force": True}),
        ("AttachObject", {"entry": {**ON_TC, "name": "more", "match": {"name": "v*"}}}),
        ("AttachObject", {"entry": {**ON_TC, "name": "more", "match": {"driver": "veth"}}}),
        ("Reload", {}),
        ("Reload", {"partial": True}),
    )
    os.kill(daemon.pid, signal.SIGHUP)
    wait_for(lambda: daemon.log().count("configuration not applied") == 3, "the reload is refused")
    assert xdp_id() == before
    daemon.ctl("detach", "all@veth0", "--confirm", "60s")
    assert xdp_id() == 0
    daemon.ctl("apply", "--rollback", status=3)  # the refused reload is told on
    assert xdp_id() == before
    daemon.call("Reload", confirm=60)
    assert xdp_id() not in (0, before)
    daemon.call("Confirm")


def test_runtime_entry_on_a_protected_interface(veth: Veth, daemon: Daemon, copy: Path) -> None:
    configure(daemon)
    daemon.start()
    entry = {**ENTRY, "object": str(copy)}
    daemon.call("AttachObject", entry=entry, confirm=60)
    daemon.call("Confirm")
    before = made_stale(copy)
    all_refused(
        daemon,
        ("Detach", {"name": "mine"}),
        ("Attach", {"name": "mine"}),
        ("AttachObject", {"entry": entry}),
        ("AttachObject", {"entry": {**entry, "interface": "veth7"}}),  # off the protected one
        ("AttachObject", {"entry": {**ENTRY, **ON_TC, "name": "other"}}),
        ("Reload", {}),  # it reads the objects of runtime entries anew
    )
    shutil.copy(COUNT, copy)
    daemon.end()
    daemon.start()
    assert xdp_id() == before


def test_protected_interface_by_its_alternative_name(veth: Veth, daemon: Daemon) -> None:
    ip("link", "property", "add", "dev", "veth0", "altname", "uplink")
    configure(daemon, xdp_entry(interface="uplink"))
    daemon.start()
    other = {**ENTRY, **ON_TC, "interface": "uplink"}
    all_refused(daemon, ("Detach", {"name": "edge"}), ("AttachObject", {"entry": other}))


def test_what_a_protected_interface_would_get_when_it_comes_is_protected(
    veth: Veth, daemon: Daemon, copy: Path
) -> None:
    configure(daemon, glob("{name: 'lan*'}", object=copy), xdp_entry(), names="lan7")
    daemon.start()
    shutil.copy(COUNT_V2, copy)
    all_refused(
        daemon,
        ("Detach", {"name": "all"}),
        ("AttachObject", {"entry": {**ON_TC, "name": "more", "match": {"name": "l*"}}}),
        ("AttachObject", {"entry": {**ENTRY, "interface": "lan7"}}),
        ("Reload", {}),
    )
    configure(daemon, xdp_entry(), names="lan7")
    with pytest.raises(UsageError, match=r"'lan7' is protected.*apply --confirm"):
        daemon.call("Reload")
    daemon.call("Reload", confirm=60)
    daemon.call("Confirm")
    assert daemon.names() == ["edge"]


def test_other_interfaces_change_as_ever(veth: Veth, daemon: Daemon, copy: Path) -> None:
    configure(daemon, glob("{name: 'lan*'}"), xdp_entry(object=copy), names="mgmt0")
    daemon.start()
    before = xdp_id()
    daemon.call("Detach", name="edge")
    daemon.call("Attach", name="edge")
    daemon.call("Detach", name="all")
    daemon.call("AttachObject", entry={**ON_TC, "name": "more", "match": {"name": "veth*"}})
    shutil.copy(COUNT_V2, copy)
    daemon.call("Reload")
    assert (xdp_id() not in (0, before), len(tc_ids())) == (True, 1)
    daemon.call("Detach", name="more")


def test_interface_that_a_trial_protects_no_more_is_protected_until_that_is_confirmed(
    veth: Veth, daemon: Daemon
) -> None:
    configure(daemon, xdp_entry())
    daemon.start()
    before = xdp_id()
    daemon.configure(xdp_entry())
    daemon.call("Reload", confirm=60)
    assert daemon.call("Status")["status"]["protect"] == ["veth0"]  # by which `ip` and `tc` go
    all_refused(
        daemon,
        ("Detach", {"name": "edge"}),
        ("Attach", {"name": "edge"}),
        ("AttachObject", {"entry": {**ON_TC, "name": "more", "interface": "veth0"}}),
    )
    with pytest.raises(UsageError, match="`xdploaderctl confirm` first"):
        daemon.call("Detach", name="edge")
    daemon.call("RollBack")
    assert (xdp_id(), daemon.attachment("edge")["state"]) == (before, "attached")
    daemon.call("Reload", confirm=60)
    daemon.call("Confirm")
    daemon.call("Detach", name="edge")
    assert xdp_id() == 0


def left_behind(daemon: Daemon) -> int:
    """Leave a program on the protected interface without an entry, for no time of grace, and return its id."""
    daemon.configure(xdp_entry())
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the configuration is kept")
    daemon.end()
    (daemon.data / "confirmed").unlink()
    configure(daemon)
    daemon.orphan_grace = 0
    daemon.start()
    return xdp_id()


def test_orphan_on_a_protected_interface_is_not_swept(veth: Veth, daemon: Daemon) -> None:
    before = left_behind(daemon)
    assert before
    all_refused(daemon, ("Sweep", {"name": "edge"}))
    told = f"orphan edge: program {before} (xdp_count), on xdp of 'veth0' (native); not swept, interface 'veth0' is"
    assert told in daemon.ctl("orphans", "--sweep")
    (orphan,) = daemon.call("Sweep")["status"]["orphans"]
    assert (orphan["swept_at"], orphan["reason"]) == (0, "interface 'veth0' is protected")
    daemon.call("Reload")
    assert xdp_id() == before
    daemon.configure()
    daemon.call("Reload")  # nothing is protected any more
    wait_for(lambda: xdp_id() == 0, "swept")
    assert daemon.ctl("orphans") == "no orphans\n"


def test_orphan_is_not_swept_while_a_roll_back_could_protect_its_interface(veth: Veth, daemon: Daemon) -> None:
    before = left_behind(daemon)
    daemon.configure()
    daemon.call("Reload", confirm=60)
    daemon.ctl("orphans", "--sweep")
    daemon.call("RollBack")
    assert xdp_id() == before
    daemon.call("Reload", confirm=60)
    assert xdp_id() == before
    daemon.call("Confirm")
    daemon.call("Sweep")
    assert xdp_id() == 0


def test_what_was_on_trial_leaves_a_protected_interface_with_the_roll_back_of_a_start(
    veth: Veth, daemon: Daemon
) -> None:
    configure(daemon)
    daemon.start()
    configure(daemon, xdp_entry())
    daemon.call("Reload", confirm=600)
    assert xdp_id()
    daemon.end(signal.SIGKILL)
    path = daemon.data / "pending"
    write_state(path, {**read_state(path, boot_id=""), "deadline": boot_clock() - 1}, boot_id="")
    daemon.start()
    wait_for(lambda: xdp_id() == 0, "rolled back")
    assert daemon.ctl("orphans") == "no orphans\n"


@pytest.mark.parametrize("rights", [(), UNIT_RIGHTS], ids=["all", "of the unit"])
def test_orphan_comes_back_when_the_entry_in_its_place_is_rolled_back(
    veth: Veth, daemon: Daemon, rights: tuple[str, ...]
) -> None:
    before = left_behind(daemon)
    daemon.end()
    daemon.orphan_grace = 60
    daemon.start(prefix=rights)
    configure(daemon, xdp_entry("new", object=COUNT_V2))
    daemon.call("Reload", confirm=60)
    assert xdp_id() not in (0, before)
    with pytest.raises(UsageError, match="'edge' gave way to what is on trial: confirm that first, or roll it back"):
        daemon.call("Sweep", name="edge")
    (orphan,) = daemon.call("Sweep")["status"]["orphans"]
    assert (orphan["name"], orphan["swept_at"], orphan["reason"]) == ("edge", 0, "it gave way to what is on trial")
    status = daemon.call("RollBack")["status"]
    assert (xdp_id(), status["lost"]) == (before, [])
    assert [(orphan["name"], orphan["prog_id"]) for orphan in status["orphans"]] == [("edge", before)]
    daemon.call("Reload", confirm=60)
    daemon.call("Confirm")
    daemon.call("Sweep")
    assert xdp_id() not in (0, before)
    assert daemon.ctl("orphans") == "no orphans\n"

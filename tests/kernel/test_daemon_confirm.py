"""A real daemon with a configuration on trial: rolled back by itself unless somebody confirms it."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.errors import UsageError

pytestmark = pytest.mark.kernel


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "count.o"
    shutil.copy(OBJECTS / "xdp_count.bpf.o", made)
    return made


def started(daemon: Daemon, copy: Path) -> int:
    """Start with an XDP program, then change its object and the configuration; return the program's id."""
    daemon.configure(xdp_entry(object=copy), tail_entry("gone"))
    daemon.start()
    before = xdp_id()
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    daemon.configure(xdp_entry(object=copy), tail_entry("new", priority=7))
    return before


def is_as_before(daemon: Daemon, before: int) -> bool:
    status = daemon.call("Status")["status"]
    return xdp_id() == before and "not confirmed" in status["config_error"] and len(tc_ids()) == 1


def age(daemon: Daemon, **changes: object) -> None:
    """Change what is written down of the configuration that waits."""
    path = daemon.data / "pending"
    write_state(path, {**read_state(path, boot_id=""), **changes}, boot_id="")


def test_unconfirmed_configuration_is_rolled_back_to_the_same_program(veth: Veth, daemon: Daemon, copy: Path) -> None:
    before = started(daemon, copy)
    status = daemon.call("Reload", confirm=3)["status"]
    assert status["confirm_seconds"] > 0
    assert xdp_id() not in (0, before)
    assert (OWN_PINS / "_before/edge/prog").exists()
    wait_for(lambda: is_as_before(daemon, before), "rolled back")
    assert daemon.names() == ["edge", "gone"]
    wait_for(lambda: not (OWN_PINS / "_before").exists(), "no pins of old programs")
    whole = "audit: roll-back '' by uid 0, process 0, over deadline, was 2 attached, is "
    wait_for(lambda: whole in daemon.log(), "a record of the roll-back, which comes last")
    assert "audit: roll-back 'edge' by uid 0, process 0, over deadline, object sha1 " in daemon.log()
    daemon.end()
    daemon.start()  # the files are the same, and so is what was rejected
    assert is_as_before(daemon, before)


def test_confirmed_configuration_stays(veth: Veth, daemon: Daemon, copy: Path) -> None:
    before = started(daemon, copy)
    assert daemon.call("Reload", confirm=60)["status"]["confirm_seconds"] > 50
    with pytest.raises(UsageError, match="waits to be confirmed"):
        daemon.call("Reload")
    daemon.ctl("confirm")
    after = xdp_id()
    assert after not in (0, before)
    assert not (OWN_PINS / "_before").exists()
    assert not daemon.call("Status")["status"]["confirm_seconds"]
    daemon.end()
    daemon.start()
    assert (xdp_id(), daemon.names()) == (after, ["edge", "new"])
    with pytest.raises(UsageError, match="no configuration waits"):
        daemon.call("Confirm")


def test_request_that_is_refused_for_its_own_sake_is_no_fault_of_the_files(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    requests: tuple[dict[str, Any], ...] = ({"partial": True, "confirm": 60}, {"confirm": 25 * 3600})
    for given in requests:
        with pytest.raises(UsageError):
            daemon.call("Reload", **given)
    daemon.call("Detach", name="edge", confirm=60)
    with pytest.raises(UsageError, match="the change in force waits"):
        daemon.call("Reload")
    daemon.reload()  # by a signal
    status = daemon.call("Confirm")["status"]
    assert (status["config_error"], status["degraded"]) == ("", False)
    assert daemon.log().count("ERROR xdploaderd.daemon.service.service: configuration not read: ") == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_after_the_deadline_rolls_back_first(veth: Veth, daemon: Daemon, copy: Path, number: int) -> None:
    before = started(daemon, copy)
    daemon.call("Reload", confirm=600)
    daemon.end(number)
    age(daemon, deadline=boot_clock() - 1)
    daemon.start()
    wait_for(lambda: is_as_before(daemon, before), "rolled back")
    assert "attached 'new'" not in daemon.log().split("last confirmed configuration is used")[1]


def test_roll_back_of_a_start_is_recorded_for_each_attachment(veth: Veth, daemon: Daemon, copy: Path) -> None:
    before = started(daemon, copy)
    (tail,) = tc_ids()
    daemon.call("Reload", confirm=600)
    on_trial, (new,) = xdp_id(), tc_ids()
    daemon.end(signal.SIGKILL)
    age(daemon, deadline=boot_clock() - 1)
    seen = len(daemon.log())
    daemon.start()
    wait_for(lambda: "audit: roll-back ''" in daemon.log()[seen:], "rolled back")
    told = [line.partition("audit: ")[2] for line in daemon.log()[seen:].splitlines() if "audit: " in line]
    over = "by uid 0, process 0, over deadline"
    sha1s = [re.sub("object sha1 [0-9a-f]{40}, ", "", line) for line in told]
    at_xdp = "attached with program {} (veth0, native)"
    assert sorted(sha1s[:-1]) == [
        f"roll-back 'edge' {over}, was {at_xdp.format(on_trial)}, is {at_xdp.format(before)}: done",
        f"roll-back 'gone' {over}, was nothing, is attached with program {tail} (veth0, priority 1, handle 0x1): done",
        f"roll-back 'new' {over}, was attached with program {new} (veth0, priority 7, handle 0x1), is nothing: done",
    ]
    assert sha1s[-1] == f"roll-back '' {over}, was 2 attached, is 2 attached: done"


def test_roll_back_leaves_orphans_of_before_their_grace_time(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry("left", priority=7))
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    daemon.end()
    daemon.configure(xdp_entry())
    daemon.start()
    assert orphans(daemon) == ["left"]
    daemon.configure(xdp_entry(), tail_entry("new", priority=8))
    daemon.call("Reload", confirm=60)
    assert len(tc_ids()) == 2
    daemon.call("RollBack")
    daemon.call("Attach", name="edge")  # after another look at all
    assert (daemon.names(), orphans(daemon), len(tc_ids())) == (["edge"], ["left"], 1)


def orphans(daemon: Daemon) -> list[str]:
    return [orphan["name"] for orphan in daemon.call("Status")["status"]["orphans"]]


def test_restart_before_the_deadline_waits_on(veth: Veth, daemon: Daemon, copy: Path) -> None:
    before = started(daemon, copy)
    daemon.call("Reload", confirm=600)
    after = xdp_id()
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert xdp_id() == after
    assert daemon.call("Status")["status"]["confirm_seconds"] > 500
    daemon.end()
    age(daemon, deadline=boot_clock() + 1)
    daemon.start()
    wait_for(lambda: is_as_before(daemon, before), "rolled back")


def test_reboot_starts_from_the_last_confirmed_configuration(veth: Veth, daemon: Daemon, copy: Path) -> None:
    started(daemon, copy)
    daemon.call("Reload", confirm=600)
    daemon.end(signal.SIGKILL)
    daemon.close_pins()  # as a reboot does, with programs and state
    shutil.rmtree(daemon.state)
    age(daemon, boot_id="another")
    daemon.start()
    status = daemon.call("Status")["status"]
    assert "not confirmed" in status["config_error"]
    assert daemon.names() == ["edge", "gone"]
    edge = daemon.attachment("edge")
    assert edge["state"] in ("attached", "foreign")
    assert edge["object"].startswith(str(daemon.data))  # the file itself has changed
    assert json.dumps(edge)


def test_start_that_cannot_read_whether_it_was_confirmed_takes_the_last_confirmed(
    veth: Veth, daemon: Daemon, copy: Path
) -> None:
    started(daemon, copy)
    for _ in range(2):  # once more: it stays so until a reload
        daemon.call("Reload", confirm=600)
        assert daemon.names() == ["edge", "new"]
        daemon.end(signal.SIGKILL)
        (daemon.data / "pending").write_bytes(b"damaged")
        daemon.start()
        daemon.end()
        daemon.start()
        status = daemon.call("Status")["status"]
        assert "whether the configuration was confirmed cannot be read" in status["config_error"]
        assert daemon.names() == ["edge", "gone"]
    assert not daemon.call("Reload")["status"]["config_error"]
    assert not (daemon.data / "pending").exists()


def test_roll_back_without_a_confirmed_configuration_says_that_nothing_changed(
    veth: Veth, daemon: Daemon, copy: Path
) -> None:
    started(daemon, copy)
    daemon.call("Reload", confirm=600)
    now = xdp_id()
    (daemon.data / "confirmed").write_bytes(b"damaged")
    status = daemon.call("RollBack")["status"]
    assert "stays in force: no confirmed one can be read" in status["config_error"]
    assert (xdp_id(), daemon.names(), status["confirm_seconds"]) == (now, ["edge", "new"], 0)
    assert re.search("audit: roll-back '' .*: no confirmed one can be read", daemon.log())


def test_nothing_permanent_lets_a_start_take_what_was_rolled_back(veth: Veth, daemon: Daemon, copy: Path) -> None:
    daemon.whole_directory = True
    tc = str(OBJECTS / "tc_count.bpf.o")
    entry = {"name": "more", "interface": "veth0", "hook": "tc-egress", "object": tc, "program": "count_in"}
    before = started(daemon, copy)
    daemon.call("AttachObject", entry={**entry, "name": "made"}, permanent=True)
    requests: tuple[tuple[str, dict[str, Any]], ...] = (
        ("AttachObject", {"entry": {**entry, "priority": 2}, "permanent": True}),
        ("Detach", {"name": "made", "permanent": True}),
    )

    def are_refused(match: str) -> None:
        for method, given in requests:
            with pytest.raises(UsageError, match=match):
                daemon.call(method, **given)
            assert re.search(f"audit: .*{match}", daemon.log().splitlines()[-1])
        assert [file.name for file in (daemon.directory / "conf.d").iterdir()] == ["50-made.yaml"]

    daemon.call("Reload", confirm=600)
    are_refused("waits to be confirmed")
    daemon.call("RollBack")
    are_refused("nothing permanent can be put beside them")
    daemon.end()
    daemon.start()
    assert is_as_before(daemon, before)
    assert daemon.names() == ["edge", "gone", "made"]
    are_refused("nothing permanent can be put beside them")
    daemon.call("Reload")
    daemon.call("AttachObject", **requests[0][1])
    daemon.call("Detach", name="made", permanent=True)
    assert daemon.names() == ["edge", "new", "more"]
    daemon.end()
    daemon.config.write_text("spoilt: [")
    daemon.start()
    assert daemon.names() == ["edge", "new", "more"]  # the last confirmed configuration has it too


@pytest.mark.parametrize("spoil", [Path.unlink, lambda copy: copy.write_bytes(b"damaged")])
def test_reboot_loads_nothing_that_was_not_confirmed(
    veth: Veth, daemon: Daemon, copy: Path, spoil: Callable[[Path], object]
) -> None:
    started(daemon, copy)
    daemon.call("Reload", confirm=600)
    daemon.end(signal.SIGKILL)
    daemon.close_pins()
    ip("link", "set", "veth0", "xdp", "off")
    shutil.rmtree(daemon.state)
    age(daemon, boot_id="another")
    for path in daemon.data.glob("confirmed-objects/*/count.o"):
        spoil(path)
    daemon.start()
    edge = daemon.attachment("edge")
    assert (edge["state"], edge["prog_id"], xdp_id()) == ("failed", 0, 0)
    assert "no copy of that is left" in edge["reason"]


def test_protected_interface_changes_with_confirm_alone(veth: Veth, daemon: Daemon, copy: Path) -> None:
    daemon.configure(xdp_entry(object=copy))
    daemon.config.write_text("protect: [veth0]\n" + daemon.config.read_text())
    daemon.start()  # the first configuration there is
    before = xdp_id()
    assert before
    shutil.copy(OBJECTS / "xdp_count_v2.bpf.o", copy)
    for method, given in (
        ("Reload", {}),
        ("Detach", {"name": "edge"}),
        ("Attach", {"name": "edge"}),
        ("AttachObject", {"entry": {key: str(value) for key, value in tail_entry().items()}, "force": True}),
    ):
        way = {"Reload": "", "Detach": "detach edge ", "Attach": "attach edge ", "AttachObject": "attach --object ... "}
        with pytest.raises(UsageError, match=f"protected.*xdploaderctl {way[method]}.*apply --confirm"):
            daemon.call(method, **given)
    daemon.end()
    daemon.start()
    assert xdp_id() == before
    assert "protected" in daemon.call("Status")["status"]["config_error"]
    daemon.ctl("apply", "--confirm", "60s")
    daemon.ctl("confirm")
    assert xdp_id() not in (0, before)


def test_files_that_protect_no_more_change_nothing_there_by_a_start(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.config.write_text("protect: [veth0]\n" + daemon.config.read_text())
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "the first configuration is kept")
    before = xdp_id()
    daemon.end()
    daemon.configure()
    daemon.start()
    status = daemon.call("Status")["status"]
    assert (xdp_id(), status["protect"], status["orphans"]) == (before, ["veth0"], [])
    assert "protected and was changed" in status["config_error"]
    with pytest.raises(UsageError, match="protected"):
        daemon.call("Detach", name="edge")
    daemon.call("Reload", confirm=60)
    assert daemon.call("Status")["status"]["protect"] == ["veth0"]  # a roll-back could protect it again
    daemon.call("RollBack")
    assert daemon.call("Status")["status"]["protect"] == ["veth0"]


def test_bad_files_at_start_are_no_reason_to_detach(veth: Veth, daemon: Daemon, copy: Path) -> None:
    daemon.configure(xdp_entry(object=copy))
    daemon.start()
    before = xdp_id()
    daemon.end()
    daemon.config.write_text("nonsense\n")
    daemon.start()
    assert xdp_id() == before
    assert str(daemon.config) in daemon.call("Status")["status"]["config_error"]

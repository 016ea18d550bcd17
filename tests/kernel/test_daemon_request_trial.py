"""A real daemon with an attach or detach on trial: undone by itself unless somebody confirms it."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import OBJECTS, OWN_PINS, Daemon, tail_entry, tc_ids, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_boot_id, read_state, write_state
from xdploaderd.errors import LoaderError, UsageError

pytestmark = pytest.mark.kernel
COUNT, COUNT_V2 = (str(OBJECTS / name) for name in ("xdp_count.bpf.o", "xdp_count_v2.bpf.o"))
ENTRY = {"interface": "veth0", "hook": "xdp", "object": COUNT}


def protected(daemon: Daemon, *entries: dict[str, object]) -> None:
    daemon.configure(*entries)
    daemon.config.write_text("protect: [veth0]\n" + daemon.config.read_text())
    daemon.start()


def is_over(daemon: Daemon) -> bool:
    status = daemon.call("Status")["status"]
    return not status["confirm_seconds"] and not (OWN_PINS / "_before").exists()


def age(daemon: Daemon, deadline: float) -> None:
    """Change the deadline that is written down."""
    path, boot_id = daemon.state / "trial", read_boot_id()
    write_state(path, {**read_state(path, boot_id=boot_id), "deadline": deadline}, boot_id=boot_id)


def test_detach_on_trial_is_undone_with_the_same_program(veth: Veth, daemon: Daemon) -> None:
    protected(daemon, xdp_entry())
    before = xdp_id()
    assert "detached" in daemon.ctl("detach", "edge", "--confirm", "2s")
    assert xdp_id() == 0
    assert daemon.call("Status")["status"]["confirm_seconds"] > 0
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert not daemon.call("Status")["status"]["degraded"]


def test_detach_of_a_runtime_entry_on_trial_is_undone(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    with Path(COUNT).open("rb") as file:
        daemon.call("AttachObject", descriptors=(file.fileno(),), entry=ENTRY, descriptor=0)
    before = xdp_id()
    daemon.call("Detach", name="veth0-xdp", confirm=1)
    assert (xdp_id(), daemon.names()) == (0, [])
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert daemon.attachment("veth0-xdp")["state"] == "attached"


def test_confirmed_attach_and_detach_stay(veth: Veth, daemon: Daemon) -> None:
    protected(daemon)
    words = ("--object", COUNT, "--interface", "veth0", "--hook", "xdp", "--confirm", "60s")
    assert "attached" in daemon.ctl("attach", *words)
    daemon.ctl("confirm")
    assert xdp_id()
    assert is_over(daemon)
    daemon.ctl("detach", "veth0-xdp", "--confirm", "1m")
    daemon.ctl("confirm")
    daemon.end()
    daemon.start()
    assert (xdp_id(), daemon.names(), is_over(daemon)) == (0, [], True)


def test_attach_of_another_object_on_trial_is_undone_to_the_program_before(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    daemon.call("AttachObject", entry=ENTRY)
    before = xdp_id()
    daemon.call("AttachObject", entry={**ENTRY, "object": COUNT_V2}, confirm=1)
    assert xdp_id() not in (0, before)
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")
    assert daemon.attachment("veth0-xdp")["object"] == COUNT


def test_new_attachment_on_trial_goes_again(veth: Veth, daemon: Daemon) -> None:
    protected(daemon)
    daemon.call("AttachObject", entry=ENTRY, confirm=1)
    assert xdp_id()
    wait_for(lambda: not xdp_id() and is_over(daemon), "rolled back")
    assert daemon.names() == []


def test_attach_of_a_detached_entry_on_trial_is_undone(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    daemon.call("Detach", name="edge")
    daemon.call("Attach", name="edge", confirm=1)
    assert xdp_id()
    wait_for(lambda: not xdp_id() and is_over(daemon), "rolled back")
    assert daemon.attachment("edge")["state"] == "detached"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_after_the_deadline_undoes_the_request_first(veth: Veth, daemon: Daemon, number: int) -> None:
    protected(daemon, xdp_entry())
    before = xdp_id()
    daemon.call("Detach", name="edge", confirm=600)
    daemon.end(number)
    age(daemon, boot_clock() - 1)
    daemon.start()
    assert xdp_id() == before
    wait_for(lambda: is_over(daemon), "no pins of old programs")
    line = f", was nothing, is attached with program {before} (veth0, native): done"
    wait_for(lambda: line in daemon.log(), "a record of the roll-back, which comes last")


def test_restart_before_the_deadline_goes_on_waiting(veth: Veth, daemon: Daemon) -> None:
    protected(daemon, xdp_entry())
    before = xdp_id()
    daemon.call("Detach", name="edge", confirm=600)
    daemon.end(signal.SIGKILL)
    age(daemon, boot_clock() + 1)
    daemon.start()
    wait_for(lambda: xdp_id() == before and is_over(daemon), "rolled back")


CHANGES: tuple[Callable[[Daemon], object], ...] = (
    lambda daemon: daemon.call("Detach", name="tail"),
    lambda daemon: daemon.call("Attach", name="tail"),
    lambda daemon: daemon.call("AttachObject", entry={**ENTRY, "interface": "veth1"}),
    lambda daemon: daemon.call("Detach", name="tail", confirm=5),
    lambda daemon: daemon.call("Reload"),
    lambda daemon: daemon.call("Reload", confirm=5),
)


def test_while_a_change_is_on_trial_there_is_no_other(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(), tail_entry())
    daemon.start()
    daemon.call("Detach", name="edge", confirm=600)
    for change in CHANGES:
        with pytest.raises(UsageError, match="the change in force waits to be confirmed for"):
            change(daemon)
    assert (xdp_id(), len(tc_ids())) == (0, 1)
    daemon.call("Confirm")
    daemon.call("Detach", name="tail")


def test_attach_on_trial_that_fails_leaves_nothing(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry())
    daemon.start()
    before = xdp_id()
    bad = {"interface": "veth0", "hook": "tc-ingress", "object": str(OBJECTS / "reject.bpf.o"), "program": "bad"}
    with pytest.raises(LoaderError):
        daemon.call("AttachObject", entry=bad, confirm=60)
    assert (xdp_id(), daemon.names(), is_over(daemon)) == (before, ["edge"], True)
    assert not (daemon.state / "trial").exists()


def test_what_is_permanent_is_not_put_on_trial(veth: Veth, daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(UsageError, match="lasts until reboot"):
        daemon.call("AttachObject", entry=ENTRY, permanent=True, confirm=60)
    assert daemon.names() == []

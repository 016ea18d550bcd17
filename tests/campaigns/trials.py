"""Changes of several entries that a daemon is killed in: one that fails, one on trial and what may end it, a migration.

Whatever moment it is, all comes to be as the old configuration says, or the new one, and never a part of each.
"""

import time
from collections.abc import Callable, Mapping

from tests.campaigns.on_disk import pending
from tests.campaigns.operations import ATTACHED, Operation, Scene
from tests.support.daemon import PATIENCE, wait_for
from tests.support.netns import ip
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.state.state_file import read_boot_id, read_state, write_state

LONG = 600  # seconds in which somebody might confirm
SHORT = 1
BIG_MTU = "9000"  # of the peer: more than veth takes with XDP, so attaching fails in the kernel


def several(scene: Scene) -> None:
    """Attach three entries, and write a configuration that replaces two, takes one off and brings another."""
    scene.daemon.configure(scene.edge(), scene.tail(), scene.tail("gone", hook="tc-egress"))
    scene.everything_attached()
    scene.replace_objects()
    scene.daemon.configure(scene.edge(), scene.tail(), scene.tail("more", hook="tc-egress", priority=7))


def one_fails(scene: Scene) -> None:
    """Attach three entries, and write a configuration whose fourth of five entries fails when it is attached."""
    several(scene)
    ip("link", "set", "peer1", "mtu", BIG_MTU, namespace=scene.peers["veth1"])
    failing = scene.edge("bad", interface="veth1")
    late = scene.tail("late", interface="veth1")
    more = scene.tail("more", hook="tc-egress", priority=7)
    scene.daemon.configure(scene.edge(), scene.tail(), more, failing, late)


def on_trial(scene: Scene) -> None:
    """Bring about the state before `confirm`."""
    several(scene)
    apply_on_trial(scene)


def apply_on_trial(scene: Scene) -> None:
    """Apply what waits to be confirmed for long."""
    scene.daemon.call("Reload", confirm=LONG)


def shortly_on_trial(scene: Scene) -> None:
    """Bring about the state before `roll-back`: applied, and not going to be confirmed."""
    several(scene)
    scene.daemon.call("Reload", confirm=SHORT)


def await_end(scene: Scene) -> None:
    """Wait until all was rolled back or the daemon died of it."""
    deadline = time.monotonic() + PATIENCE
    while pending(scene.daemon) == "waits" and scene.is_alive():
        assert time.monotonic() < deadline, scene.daemon.log()
        time.sleep(0.02)


def confirm(scene: Scene) -> None:
    """Confirm what waits."""
    if scene.daemon.call("Status")["status"]["confirm_seconds"]:
        scene.daemon.call("Confirm")


def restart(scene: Scene) -> None:
    """Start the daemon anew."""
    scene.daemon.end()
    scene.daemon.start()


def roll_back(scene: Scene) -> None:
    """Let the time to confirm be over while no daemon runs, and start one."""
    daemon = scene.daemon
    daemon.end()
    for path, boot_id in ((daemon.data / "pending", ""), (daemon.state / "trial", read_boot_id())):
        if values := read_state(path, boot_id=boot_id):
            write_state(path, {**values, "deadline": boot_clock() - 1}, boot_id=boot_id)
    daemon.start()
    wait_for(lambda: pending(scene.daemon) != "waits", f"rolled back: {daemon.log()}")


def is_on_disk(scene: Scene) -> None:
    """Check that a hook changed only after it was written down what is on trial."""
    scene.on_disk = pending(scene.daemon)
    changed = scene.programs() != scene.kept
    assert not changed or scene.on_disk, f"{scene.kept} became {scene.programs()}, and nothing tells of a trial"


def decide(scene: Scene, number: int) -> None:
    """Confirm what the next daemon has on trial, or let the time be over; what is in force for good stays."""
    waits = scene.daemon.call("Status")["status"]["confirm_seconds"]
    assert bool(waits) is (scene.on_disk == "waits"), f"{scene.on_disk!r} on disk, and {waits} s left"
    if waits:
        (confirm if number % 2 else roll_back)(scene)


def is_rolled_back(scene: Scene, _number: int) -> None:
    """Wait until what is on disk as on trial was rolled back."""
    if scene.on_disk:
        wait_for(lambda: pending(scene.daemon) != "waits", f"rolled back: {scene.daemon.log()[-2000:]}")


def confirm_now(scene: Scene, _number: int) -> None:
    """Confirm, unless that was done."""
    confirm(scene)


def tried(
    before: Callable[[Scene], None],
    act: Callable[[Scene], None],
    kept: tuple[str, ...],
    settle: Callable[[Scene, int], None] = decide,
) -> Operation:
    """Return an operation on trial: what a kill leaves of it is on disk or nothing, and is confirmed or rolled back."""
    return Operation(
        before=before,
        act=act,
        kept=kept,
        dead=is_on_disk,
        settle=settle,
        ends=(confirm, roll_back),
        may_do_nothing=False,
    )


TRIALS: Mapping[str, Operation] = {
    "undo": Operation(
        before=one_fails, act=Scene.reload, kept=ATTACHED, ends=(restart,), may_do_nothing=False, failing=("bad",)
    ),
    "trial": tried(several, apply_on_trial, ATTACHED),
    "confirm": Operation(
        before=on_trial, act=confirm, kept=ATTACHED, settle=confirm_now, ends=(confirm,), may_do_nothing=False
    ),
    "roll-back": Operation(
        before=shortly_on_trial,
        act=await_end,
        kept=ATTACHED,
        dead=is_on_disk,
        settle=is_rolled_back,
        may_do_nothing=False,
    ),
}

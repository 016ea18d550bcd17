"""An attach or detach on trial that a daemon is killed in: confirmed, or undone with the very programs of before."""

from collections.abc import Mapping
from typing import Any

from tests.campaigns.operations import ATTACHED, RUNTIME, Operation, Scene
from tests.campaigns.trials import LONG, SHORT, await_end, confirm, confirm_now, decide, is_rolled_back, tried

EVERYWHERE = (*ATTACHED, "veth1")


def ask(scene: Scene, verb: str, name: Any, seconds: int = LONG) -> None:
    """Attach or detach on trial."""
    scene.daemon.call(verb, name=name, confirm=seconds)


def with_runtime(scene: Scene) -> None:
    """Have a runtime entry, and another object for it."""
    scene.everything_attached()
    scene.attach_runtime()
    scene.replace_extra()


def changed_on_trial(scene: Scene) -> None:
    """Have another program on trial in a runtime entry."""
    with_runtime(scene)
    scene.attach_runtime(LONG)


def changed_shortly(scene: Scene) -> None:
    """The same, and nobody is going to confirm it."""
    with_runtime(scene)
    scene.attach_runtime(SHORT)


def detached_shortly(scene: Scene) -> None:
    """Have a configured entry detached on trial, which nobody is going to confirm."""
    scene.everything_attached()
    ask(scene, "Detach", "tail", SHORT)


def decide_exactly(scene: Scene, number: int) -> None:
    """Confirm what waits, or let the time be over: then, as where nothing waits, the programs are those of before."""
    before = dict(scene.kept)
    confirmed = number % 2 and scene.on_disk
    decide(scene, number)
    assert confirmed or scene.programs() == before, f"{before} came back as {scene.programs()}"


REQUESTS: Mapping[str, Operation] = {
    "attach-trial": tried(Scene.one_detached, lambda s: ask(s, "Attach", "tail"), ("edge",), decide_exactly),
    "detach-trial": tried(Scene.everything_attached, lambda s: ask(s, "Detach", "tail"), ("edge",), decide_exactly),
    "runtime-trial": tried(Scene.everything_attached, lambda s: s.attach_runtime(LONG), ATTACHED, decide_exactly),
    "change-trial": tried(with_runtime, lambda s: s.attach_runtime(LONG), EVERYWHERE, decide_exactly),
    "forget-trial": tried(with_runtime, lambda s: ask(s, "Detach", RUNTIME["name"]), ATTACHED, decide_exactly),
    "request-confirm": Operation(
        before=changed_on_trial, act=confirm, kept=EVERYWHERE, settle=confirm_now, ends=(confirm,), may_do_nothing=False
    ),
    "request-roll-back": Operation(
        before=changed_shortly, act=await_end, kept=EVERYWHERE, settle=is_rolled_back, may_do_nothing=False
    ),
    "detach-roll-back": Operation(
        before=detached_shortly, act=await_end, kept=("edge",), settle=is_rolled_back, may_do_nothing=False
    ),
}

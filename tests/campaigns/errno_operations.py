"""What G3 asks of a daemon and of the command line, each operation with what comes before it."""

import contextlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.campaigns.errno_scene import EXTRA, NAMES, Entry, Scene
from tests.campaigns.errno_world import prog_by_id
from tests.support.netns import ip
from xdploaderd.cli.arguments import parse_arguments
from xdploaderd.daemon.service.requests import AttachRequest

LONG = 600  # seconds in which somebody might confirm


@dataclass(frozen=True, slots=True)
class Operation:
    """`before` brings the scene to where `act` begins; `in_part`: an error may leave some of it done.

    So it does where several interfaces are wanted otherwise by one request, each by itself, and where pins are removed.
    `others`: a pin that may not be opened is taken for somebody else's, and left as it is.
    """

    before: Callable[[Scene], None]
    act: Callable[[Scene], object]
    in_part: bool = False
    others: bool = False


def _unattached(scene: Scene, name: str) -> None:
    """Have one entry detached by request."""
    scene.ready()
    scene.daemon.ask(scene.daemon.service.detach(name))


def _changed(scene: Scene, *names: str) -> None:
    """Have other objects written."""
    scene.ready()
    scene.change(*names)


def _everything_changes(scene: Scene) -> None:
    """Write a configuration that changes every entry, ends one and has a new one."""
    _changed(scene, "edge", "wire", "side")
    scene.configure(scene.entry("more", "veth2", "xdp", "stamp_xdp") | {"object": scene.extra}, tail=None)


def _filled(scene: Scene) -> None:
    """Write a configuration that has a new entry with a map to be filled."""
    scene.ready()
    init = {"flows": str(scene.init)}
    scene.configure({**scene.entry("more", "veth2", "xdp", "use_maps"), "object": scene.maps, "map_init": init})


def _migrating(scene: Scene) -> None:
    """Have a map of another size, and write a configuration that asks for migration."""
    scene.ready()
    frames = scene.marked.name("xdp_frames")
    scene.configure(edge={"max_entries": {frames: 2}, "on_mismatch": "recreate"})
    _reload(scene)
    scene.configure(edge={"max_entries": {frames: 4}, "on_mismatch": "migrate"})


def _other_kind(name: str, **keys: object) -> Operation:
    """An entry that becomes one of another kind or mode."""

    def before(scene: Scene) -> None:
        scene.ready()
        scene.allow_gaps(**{name: keys})

    return Operation(before, _reload)


def _glob(scene: Scene) -> Entry:
    """Return an entry that means all interfaces, of which two have no entry of their own."""
    made = scene.entry("glob", "", "xdp", "stamp_xdp") | {"match": "{name: 'veth*'}"}
    return {key: value for key, value in made.items() if value}


def _globbed(scene: Scene) -> None:
    """Have that entry written."""
    scene.ready()
    scene.configure(_glob(scene))


def _glob_in_force(scene: Scene) -> None:
    _globbed(scene)
    _reload(scene)


def _glob_changes(scene: Scene) -> None:
    _glob_in_force(scene)
    scene.change("glob")


def _glob_ends(scene: Scene) -> None:
    _glob_in_force(scene)
    scene.configure()


def _glob_detached(scene: Scene) -> None:
    _glob_in_force(scene)
    scene.daemon.ask(scene.daemon.service.detach("glob"))


def _foreign(scene: Scene) -> None:
    """Have a program of ip(8) on veth2."""
    scene.ready()
    ip("link", "set", "veth2", "xdp", "obj", str(scene.extra), "sec", "xdp")
    (scene.foreign_id,) = next(ids for hook, ids in scene.world().hooks.items() if hook.startswith("veth2 xdp"))


def _on_trial(scene: Scene) -> None:
    """Have a configuration that waits to be confirmed."""
    _changed(scene, "edge", "tail")
    _reload(scene, confirm=LONG)


def _migrated_on_trial(scene: Scene) -> None:
    _migrating(scene)
    _reload(scene, confirm=LONG)


def _detached_on_trial(scene: Scene) -> None:
    scene.ready()
    scene.daemon.ask(scene.daemon.service.detach("tail", confirm=LONG))


def _attached_on_trial(scene: Scene) -> None:
    _unattached(scene, "edge")
    scene.daemon.ask(scene.daemon.service.attach("edge", confirm=LONG))


def _with_extra(scene: Scene) -> None:
    """Have a runtime entry, and another object for it."""
    scene.ready()
    _attach_extra(scene)
    scene.change(EXTRA)


def _extra_on_trial(scene: Scene) -> None:
    _with_extra(scene)
    _attach_extra(scene, confirm=LONG)


def _loaded(scene: Scene) -> None:
    """Have programs and maps that `load` pinned."""
    scene.ready()
    _load(scene)


def _reload(scene: Scene, **options: Any) -> object:
    return scene.daemon.ask(scene.daemon.service.reload(**options))


def _confirm(scene: Scene) -> object:
    return scene.daemon.ask(scene.daemon.service.confirm())


def _attach_extra(scene: Scene, confirm: int = 0) -> object:
    """Attach an object that is handed over by descriptor."""
    fd = os.open(scene.extra, os.O_RDONLY)
    try:
        entry = {"name": EXTRA, "interface": "veth2", "hook": "xdp"}
        request = AttachRequest(entry=entry, descriptor=fd, confirm=confirm)
        return scene.daemon.ask(scene.daemon.service.attach_object(request))
    finally:
        os.close(fd)


def _adopt_extra(scene: Scene) -> object:
    """Take over the program on veth2."""
    program = scene.marked.name("stamp_xdp")
    entry = {"name": EXTRA, "interface": "veth2", "hook": "xdp", "object": str(scene.extra), "program": program}
    with prog_by_id(scene.foreign_id) as prog:
        request = AttachRequest(entry=entry, program=prog.fileno())
        return scene.daemon.ask(scene.daemon.service.attach_object(request))


def _time_is_over(scene: Scene) -> None:
    """Let the time to confirm pass, and the daemon run until it has rolled back."""
    scene.clock.ahead += LONG + 1
    scene.daemon.ask(scene.rolled_back())


def _load(scene: Scene) -> None:
    _run("load", str(scene.counts), str(scene.loaded))


def _unload(scene: Scene) -> None:
    _run("unload", str(scene.loaded))


def _run(*words: str) -> None:
    """Run a verb of the command line; raises its LoaderError."""
    args = parse_arguments([*words, "--json"])
    with contextlib.redirect_stdout(io.StringIO()):
        assert args.run(args) == 0


def _attach(name: str, confirm: int = 0) -> Operation:
    return Operation(
        lambda s: _unattached(s, name),
        lambda s: s.daemon.ask(s.daemon.service.attach(name, confirm=confirm)),
        others=bool(confirm),
    )


def _detach(name: str, confirm: int = 0) -> Operation:
    return Operation(
        Scene.ready, lambda s: s.daemon.ask(s.daemon.service.detach(name, confirm=confirm)), others=bool(confirm)
    )


def _rolled_back(before: Callable[[Scene], None]) -> Operation:
    return Operation(before, _time_is_over, others=True)


def _replace(name: str) -> Operation:
    return Operation(lambda s: _changed(s, name), _reload)


OPERATIONS: Mapping[str, Operation] = {
    **{f"attach-{name}": _attach(name) for name in NAMES},
    **{f"replace-{name}": _replace(name) for name in NAMES},
    **{f"detach-{name}": _detach(name) for name in NAMES},
    "reload": Operation(_everything_changes, _reload),
    "gap": _other_kind("edge", mode="skb"),
    "map-init": Operation(_filled, _reload),
    "migrate": Operation(_migrating, _reload),
    "runtime": Operation(Scene.ready, _attach_extra),
    "adopt": Operation(_foreign, _adopt_extra),
    "on-trial": Operation(lambda s: _changed(s, "edge", "tail"), lambda s: _reload(s, confirm=LONG), others=True),
    "confirm": Operation(_on_trial, _confirm),
}
MORE: Mapping[str, Operation] = {
    "xdp-to-link": _other_kind("edge", attach="link"),
    "xdp-to-netlink": _other_kind("wire", attach="netlink"),
    "tcx-to-filter": _other_kind("side", attach="netlink"),
    "filter-to-tcx": _other_kind("tail", attach="link"),
    "glob": Operation(_globbed, _reload),
    "glob-replace": Operation(_glob_changes, _reload),
    "glob-end": Operation(_glob_ends, _reload),
    "glob-detach": Operation(_glob_in_force, lambda s: s.daemon.ask(s.daemon.service.detach("glob")), in_part=True),
    "glob-attach": Operation(_glob_detached, lambda s: s.daemon.ask(s.daemon.service.attach("glob")), in_part=True),
    "roll-back": _rolled_back(_on_trial),
    "migrate-on-trial": Operation(_migrating, lambda s: _reload(s, confirm=LONG), others=True),
    "migrate-roll-back": _rolled_back(_migrated_on_trial),
    "attach-on-trial": _attach("edge", LONG),
    "attach-roll-back": _rolled_back(_attached_on_trial),
    "detach-on-trial": _detach("tail", LONG),
    "detach-confirm": Operation(_detached_on_trial, _confirm),
    "detach-roll-back": _rolled_back(_detached_on_trial),
    "runtime-on-trial": Operation(_with_extra, lambda s: _attach_extra(s, confirm=LONG), others=True),
    "runtime-confirm": Operation(_extra_on_trial, _confirm),
    "runtime-roll-back": _rolled_back(_extra_on_trial),
    "load": Operation(Scene.ready, _load),
    "unload": Operation(_loaded, _unload, in_part=True),
}

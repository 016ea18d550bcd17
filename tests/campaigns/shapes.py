"""How all stands, in a form that can be compared: what is pinned, loaded, attached, recorded on disk, and reported."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns.operations import Scene
from tests.support.daemon import BPFFS
from tests.support.sandbox import pin_tree
from xdploaderd.daemon.state_file import read_state

OLD, NEW = "old object", "new object"


@dataclass(frozen=True, slots=True)
class Shape:
    """`alive`: programs and maps of this kernel that are the scene's; `entries`: name, state, which object it has."""

    pins: tuple[str, ...]
    alive: tuple[tuple[str, int], ...]
    hooks: tuple[str, ...]
    entries: tuple[tuple[str, str, str], ...]
    kept: tuple[tuple[str, int], ...]
    pending: str
    more: object


def shape_of(scene: Scene) -> Shape:
    """Return how all stands; the daemon must run."""
    pins = (str(Path(pin).relative_to(BPFFS)) for pin in pin_tree() if not pin.endswith(".debug"))
    return Shape(
        pins=tuple(sorted(re.sub(r"arrays_\d+", "arrays_ID", pin) for pin in pins)),
        alive=tuple(scene.marked.alive().items()),
        hooks=tuple(place for place, program in scene.programs().items() if program),
        entries=tuple((a["name"], a["state"], _version(scene, a)) for a in scene.daemon.call("List")["attachments"]),
        kept=tuple((str(path), len(tuple(path.glob("*/*")))) for path in _stores(scene)),
        pending=pending(scene),
        more=scene.more(),
    )


def pending(scene: Scene) -> str:
    """Return what is on disk of a configuration on trial: 'waits', 'rejected', or nothing."""
    values = read_state(scene.daemon.data / "pending", boot_id="")
    return "rejected" if values.get("rejected") else "waits" if values else ""


def _stores(scene: Scene) -> tuple[Path, ...]:
    daemon = scene.daemon
    return daemon.state / "objects", daemon.data / "objects", daemon.data / "confirmed-objects"


def _version(scene: Scene, attachment: Any) -> str:
    now = {hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() for path in scene.objects}
    found = attachment["object_sha1"]
    return "" if not found else NEW if found in now else OLD

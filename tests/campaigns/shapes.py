"""How all stands, in a form that can be compared: what is pinned, loaded, attached, recorded on disk, and reported."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns.on_disk import kept_objects, pending
from tests.campaigns.operations import Scene
from tests.support.daemon import BPFFS
from tests.support.sandbox import pin_tree

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
        kept=tuple(kept_objects(scene.daemon).items()),
        pending=pending(scene.daemon),
        more=scene.more(),
    )


def _version(scene: Scene, attachment: Any) -> str:
    now = {hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() for path in scene.objects}
    found = attachment["object_sha1"]
    return "" if not found else NEW if found in now else OLD

"""A pinned map that two programs share is migrated to a larger one, and the daemon is killed meanwhile.

Both programs have the pinned map in the end, the old one or the new one, and what was in it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.campaigns.operations import Operation, Scene, nothing
from tests.campaigns.trials import apply_on_trial, tried
from tests.support.daemon import BPFFS, counters, xdp_ids
from xdploaderd.kernel.bpf import Bpf

FRAMES = 77  # counted before
SMALL, LARGE = 1, 4  # entries


def entries(scene: Scene, size: int, on_mismatch: str) -> tuple[dict[str, object], ...]:
    """Return two entries that share the pinned map, which has that size."""
    values: dict[str, Any] = {"max_entries": {scene.marked.name("xdp_frames"): size}, "on_mismatch": on_mismatch}
    return scene.edge(**values), scene.edge("other", interface="veth1", **values)


def counted(scene: Scene) -> None:
    """Have a small map with a count, and write a configuration that wants a large one."""
    scene.more = lambda: _maps(scene)
    scene.daemon.configure(*entries(scene, SMALL, "recreate"))
    scene.daemon.call("Reload")
    with Bpf().obj_get(BPFFS / scene.marked.name("xdp_frames")) as fd:  # type: ignore[arg-type] # a Path is one here
        Bpf().map_update(fd, bytes(4), FRAMES.to_bytes(8, sys.byteorder))
    scene.daemon.configure(*entries(scene, LARGE, "migrate"))


def _maps(scene: Scene) -> tuple[int, bool, bool]:
    """Return the size of the pinned map, whether the count is in it, and whether all programs have it, and no other."""
    pin = BPFFS / scene.marked.name("xdp_frames")
    found = _bpftool("map", "show", "pinned", str(pin))
    own = [_bpftool("prog", "show", "id", str(prog_id))["map_ids"] for prog_id in xdp_ids().values()]
    shared = own == [[found["id"]], [found["id"]]]
    return found["max_entries"], counters(scene.marked.name("xdp_frames"))[0] >= FRAMES, shared


def _bpftool(*words: str) -> Any:
    return json.loads(subprocess.run(["bpftool", "-j", *words], capture_output=True, text=True, check=True).stdout)


BOTH = ("edge", "veth1")
MIGRATIONS: Mapping[str, Operation] = {
    "migrate": Operation(before=counted, act=Scene.reload, kept=BOTH, ends=(nothing,), may_do_nothing=False),
    "migrate-on-trial": tried(counted, apply_on_trial, BOTH),
}

"""How the world is counted for G3: by ip(8), tc(8) and the kernel's own lists."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns.on_disk import kept_objects, pending
from tests.support.daemon import BPFFS, Daemon
from tests.support.netns import ip, tc
from tests.support.sandbox import pin_tree
from xdploaderd.errors import KernelError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd, bpf_syscall
from xdploaderd.uapi.bpf import AttachType, Ifindex, ProgId

CONFIRMED = "data/confirmed-objects"  # a copy that cannot be made there is told in the log
Shape = frozenset[str]


@dataclass(frozen=True, slots=True)
class World:
    """Programs on hooks by id, pins, programs, maps and links of ours, the process's descriptors, what is on disk."""

    hooks: Mapping[str, tuple[int, ...]]
    pins: frozenset[str]
    alive: tuple[int, int, int]
    fds: int
    files: frozenset[str]

    @property
    def shape(self) -> Shape:
        """The same without ids."""
        counts = zip(("programs", "maps", "links"), self.alive, strict=True)
        hooks = (f"{len(ids)} on {hook}" for hook, ids in self.hooks.items())
        pins = (re.sub(r"arrays_\d+", "arrays_ID", pin) for pin in self.pins)
        alive = (f"{number} {what}" for what, number in counts)
        return frozenset((*hooks, *pins, *alive, f"{self.fds} descriptors", *self.files))

    def changed(self, now: "World") -> frozenset[str]:
        """Return the hooks that have other programs now."""
        return frozenset(hook for hook, ids in self.hooks.items() if now.hooks.get(hook, ()) != ids)


def world_of(interfaces: Sequence[str], mark: str, process: str, daemon: Daemon) -> World:
    """Return how all stands; filters and chains are those of the first interface. `process`: its pid, or 'self'."""
    links = json.loads(ip("-j", "link", "show"))
    hooks: dict[str, tuple[int, ...]] = {
        f"{link['ifname']} xdp, mode {link['xdp']['mode']}": (link["xdp"]["prog"]["id"],)
        for link in links
        if link["ifname"] in interfaces and "xdp" in link
    }
    for direction in ("ingress", "egress"):
        filters = json.loads(tc("-j", "filter", "show", "dev", interfaces[0], direction) or "[]")
        hooks[f"tc {direction}"] = tuple(f["options"]["prog"]["id"] for f in filters if "prog" in f.get("options", {}))
    index = next(link["ifindex"] for link in links if link["ifname"] == interfaces[0])
    hooks["tcx egress"] = tuple(Bpf(bpf_syscall).chain(Ifindex(index), AttachType.TCX_EGRESS).progs)
    pins = frozenset(str(Path(pin).relative_to(BPFFS)) for pin in pin_tree() if not pin.endswith(".debug"))
    kept = {where: number for where, number in kept_objects(daemon).items() if where != CONFIRMED}
    files = (f"{number} objects in {where}" for where, number in kept.items())
    return World(hooks, pins, alive(mark), _descriptors(process), frozenset((f"trial: {pending(daemon)}", *files)))


def _descriptors(process: str) -> int:
    """Count them when the last client's connection has been closed."""
    counts = []
    for _ in range(1 if process == "self" else 10):
        counts.append(len(os.listdir(f"/proc/{process}/fd")))
        time.sleep(0.005)
    return min(counts)


def prog_by_id(number: int) -> Fd:
    """Open a program; the caller closes it."""
    return Bpf().prog_by_id(ProgId(number))


def alive(mark: str) -> tuple[int, int, int]:
    """Return how many programs and maps of this kernel bear the mark, and how many links such programs have."""
    bpf = Bpf()
    programs = {number for number in bpf.prog_ids() if _named(prog_by_id, bpf.prog_info, number, mark)}
    maps = [number for number in bpf.map_ids() if _named(bpf.map_by_id, bpf.map_info, number, mark)]
    links = 0
    for number in bpf.link_ids():
        with suppress(KernelError), bpf.link_by_id(number) as link:
            links += bpf.link_info(link).prog_id in programs
    return len(programs), len(maps), links


def _named(open_by_id: Callable[[Any], Fd], info: Callable[[Fd], Any], number: int, mark: str) -> bool:
    with suppress(KernelError), open_by_id(number) as fd:  # gone meanwhile, or another test's
        return bool(info(fd).name.startswith(mark))
    return False

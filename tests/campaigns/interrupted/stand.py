"""How all stands, in a form that can be compared from one life to another: without ids, indexes and random names."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaigns import errno_world
from tests.campaigns.machine import host
from tests.support.daemon import BPFFS
from tests.support.rawbpf import pinned_link, tcx_programs
from tests.support.sandbox import pin_tree
from xdploaderd.daemon.state.state_file import read_boot_id, read_state
from xdploaderd.errors import KernelError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgId

if TYPE_CHECKING:
    from tests.campaigns.interrupted.scene import Scene

OURS = "i"  # how the names of the interfaces begin that daemons of this campaign are for
Hook = tuple[str, str]  # an interface, and `xdp`, `ingress 1 0x1` or `tcx ingress`
_TOLD = ("attachment", "hook", "ifindex", "left", "sha1", "program", "maps", "overrides", "priority", "handle")


class Eyes(host.Eyes):
    """ip(8) and tc(8), and what they show of XDP, filters and TCX. `kernel`: what a daemon found out of it."""

    kernel = b""

    def interfaces(self) -> Mapping[str, Any]:
        """Return what there is by name, as ip(8) shows it."""
        return {link["ifname"]: link for link in self._ask("ip", "link show") if link["ifname"].startswith(OURS)}

    def programs(self) -> Mapping[Hook, tuple[int, ...]]:
        """Return the ids of the programs by interface and hook."""
        return dict(self._programs())

    def clsacts(self) -> Iterator[str]:
        """Yield the names of the interfaces that have clsact."""
        for name, link in self.interfaces().items():
            if any(qdisc["kind"] == "clsact" for qdisc in self._ask("tc", f"qdisc show dev if{link['ifindex']}")):
                yield name

    def busy(self) -> frozenset[Hook]:
        """Return which hooks have any program, of whichever mode, priority or kind."""
        return frozenset((name, slot.partition(" ")[0]) for name, slot in self.programs())

    def _programs(self) -> Iterator[tuple[Hook, tuple[int, ...]]]:
        for name, link in self.interfaces().items():
            if "xdp" in link:
                yield (name, f"xdp {host.MODES[link['xdp']['mode']]}"), (link["xdp"]["prog"]["id"],)
            for hook, kind in host.ATTACH_TCX.items():
                direction = hook.value.removeprefix("tc-")
                for item in self._ask("tc", f"filter show dev if{link['ifindex']} {direction}"):
                    if "options" in item:
                        slot = f"{direction} {item['pref']} {item['options']['handle']}"
                        yield (name, slot), (item["options"]["prog"]["id"],)
                if chain := tcx_programs(link["ifindex"], kind):
                    yield (name, f"{direction} tcx"), chain


@dataclass(frozen=True, slots=True)
class Stand:
    """`there`: programs on hooks, pins, states, records, files; `alive`: programs, maps and links of the scene's own.

    `unlike`: the entries that are not as wanted.
    """

    there: frozenset[str]
    alive: tuple[int, int, int]
    unlike: frozenset[str]

    def beyond(self, one: "Stand", other: "Stand") -> str:
        """Return what is here and in neither of two, what is in both and not here, and other counts."""
        pairs = zip(self.alive, one.alive, other.alive, strict=True)
        if all(min(ends) <= number <= max(ends) for number, *ends in pairs):
            counts = ""
        else:
            counts = f"{self.alive} programs, maps, links, want {one.alive} or {other.alive}"
        more, less = self.there - (one.there | other.there), (one.there & other.there) - self.there
        said = (counts, f"there is besides {sorted(more)}" if more else "", f"missing {sorted(less)}" if less else "")
        return "; ".join(filter(None, said))


def stand_of(scene: "Scene", unlike: frozenset[str]) -> Stand:
    """Return how all stands; the daemon must run."""
    status = scene.core.call(scene.core.service.status())
    there = [
        *(f"{name} {slot}: {', '.join(map(_what, ids))}" for (name, slot), ids in scene.eyes.programs().items()),
        *(f"{name} has clsact" for name in scene.eyes.clsacts()),
        *_pins(),
        *(f"{one.name} {one.state}{', noted' if one.note else ''}" for one in status.attachments),
        *(f"orphan {orphan.name}" for orphan in status.orphans),
        *_records(scene),
        *_files(scene),
    ]
    names = frozenset(text.replace(scene.marked.mark, "MARK") for text in there)
    return Stand(names, errno_world.alive(scene.marked.mark), unlike)


def _what(number: int) -> str:
    """Return which program that is, by its instructions and how many maps it has."""
    with suppress(KernelError), Bpf().prog_by_id(ProgId(number)) as prog:
        info = Bpf().prog_info(prog)
        return f"{info.tag} {len(info.map_ids)}"
    return "gone"


def _pins() -> Iterator[str]:
    for path in pin_tree():
        if path.endswith(".debug"):
            continue
        name = re.sub(r"arrays_\d+", "arrays_ID", str(Path(path).relative_to(BPFFS)))
        if name.endswith(("/link", "/link_new")):
            name = f"{name.removesuffix('_new')}, {'alive' if pinned_link(Path(path)).ifindex else 'dead'}"
        yield f"pin {name}"


def _records(scene: "Scene") -> Iterator[str]:
    names = {link["ifindex"]: name for name, link in scene.eyes.interfaces().items()}
    path = scene.core.state / "records"
    for record in (read_state(path, boot_id=read_boot_id()) if path.exists() else {}).get("programs", {}).values():
        told = {key: record[key] for key in _TOLD}
        told |= {key: names.get(record[key], bool(record[key])) for key in ("ifindex", "left")}
        yield f"record {json.dumps(told | {'sha1': scene.digests.get(record['sha1'], '')})}"


def _files(scene: "Scene") -> Iterator[str]:
    for top in (scene.core.state, scene.core.data):
        for path in top.rglob("*"):
            name = re.sub(r"core/\d+", "core/ID", str(path.relative_to(scene.directory)))
            yield re.sub(r"[0-9a-f]{40,64}", lambda found: scene.digests.get(found[0], "an object"), name)

"""What G3 asks of a daemon, each operation with what comes before it, and how the world is counted.

veth0 has XDP by netlink (`edge`, with a pinned map), a TCX link (`side`) and a tc filter with a program array (`tail`),
veth1 XDP by link (`wire`); veth2 is for what comes and goes.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.campaigns.marked import Marked
from tests.support.daemon import BPFFS, Daemon
from tests.support.netns import ip, tc
from tests.support.sandbox import pin_tree
from xdploaderd.daemon.requests import AttachRequest
from xdploaderd.errors import KernelError, LoaderError, UsageError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.uapi.bpf import AttachType, Ifindex, ProgId

INTERFACES = ("veth0", "veth1", "veth2")
NAMES = ("edge", "wire", "side", "tail")
EXTRA = "extra"
Entry = Mapping[str, object]
Shape = frozenset[str]
_OBJECTS = {
    "edge": ("xdp_count.bpf.o", "xdp_count_v2.bpf.o", ("xdp_count", "xdp_frames")),
    "wire": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp",)),
    "side": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_tc",)),
    "tail": ("legacy_tail.bpf.o", "legacy_tail.bpf.o", ("tail_main", "tail_hits", "tail_entry")),
}
_FLOWS = [{"key": f"hex:{n:024x}", "value": f"hex:{n:048x}"} for n in range(1, 4)]


class Asked(Protocol):
    """A daemon, in this process or another: what `service` returns is carried out by `ask`."""

    service: Any

    def ask(self, request: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class World:
    """Programs on hooks by id, pins, programs, maps and links of ours, and this process's descriptors."""

    hooks: Mapping[str, tuple[int, ...]]
    pins: frozenset[str]
    alive: tuple[int, int, int]
    fds: int

    @property
    def shape(self) -> Shape:
        """The same without ids."""
        counts = zip(("programs", "maps", "links"), self.alive, strict=True)
        hooks = (f"{len(ids)} on {hook}" for hook, ids in self.hooks.items())
        pins = (re.sub(r"arrays_\d+", "arrays_ID", pin) for pin in self.pins)
        return frozenset((*hooks, *pins, *(f"{number} {what}" for what, number in counts), f"{self.fds} descriptors"))


class Scene:
    """Configuration and objects of a daemon, and what is asked of it."""

    def __init__(self, files: Daemon) -> None:
        self.files = files
        self.marked = Marked(files.directory)
        self._versions = dict.fromkeys(NAMES, 0)
        for name in NAMES:
            self._write(name)
        self.extra = self.marked.copy("stamp.bpf.o", "stamp_xdp", to="extra.o")
        self.maps = self.marked.copy("std_maps.bpf.o", "use_maps", "devices", to="maps.o")
        self.init = files.directory / "flows.json"
        self.init.write_text(json.dumps(_FLOWS))
        self.baseline: dict[str, dict[str, object]] = {
            "edge": {**self._entry("edge", "veth0", "xdp", "xdp_count"), "on_mismatch": "recreate"},
            "wire": {**self._entry("wire", "veth1", "xdp", "stamp_xdp"), "attach": "link"},
            "side": {**self._entry("side", "veth0", "tc-egress", "stamp_tc"), "attach": "link"},
            "tail": self._entry("tail", "veth0", "tc-ingress", "tail_main"),
        }
        files.configure(*self.baseline.values())
        self.process = "self"  # whose descriptors are counted
        self._daemon: Asked | None = None
        self.foreign_id = 0

    @property
    def daemon(self) -> Asked:
        """The daemon that everything is asked of."""
        assert self._daemon is not None
        return self._daemon

    @daemon.setter
    def daemon(self, daemon: Asked) -> None:
        self._daemon = daemon

    def _entry(self, name: str, interface: str, hook: str, program: str) -> dict[str, object]:
        path = self.files.directory / f"{self.marked.mark}{name}.o"
        marked = self.marked.name(program)
        return {"name": name, "interface": interface, "hook": hook, "object": path, "program": marked}

    def _write(self, name: str) -> None:
        first, second, marked = _OBJECTS[name]
        version = self._versions[name]
        path = self.marked.copy((first, second)[version], *marked, to=f"{name}.o")
        if first == second:
            path.write_bytes(path.read_bytes() + bytes(version))

    def change(self, *names: str) -> None:
        """Write the other version of these objects."""
        for name in names:
            self._versions[name] = 1 - self._versions[name]
            self._write(name)

    def configure(self, *more: Entry, **changed: Entry | None) -> None:
        """Write the configuration: the usual entries, some with other keys (None: left out), and more."""
        usual = [{**entry, **(changed.get(name) or {})} for name, entry in self.baseline.items()
                 if changed.get(name, {}) is not None]  # fmt: skip
        self.files.configure(*usual, *more)

    def ready(self) -> None:
        """Bring all usual entries into force, and nothing else."""
        service = self.daemon.service
        self.configure()
        with suppress(UsageError):  # none waits
            self.daemon.ask(service.confirm())
        self.daemon.ask(service.reload())
        for status in self.daemon.ask(service.list()):
            if status.name == EXTRA:
                self.daemon.ask(service.detach(EXTRA))
            elif status.state != "attached":
                self.daemon.ask(service.attach(status.name))
        ip("link", "set", "veth2", "xdp", "off")

    def reset(self) -> None:
        """Take everything off, as far as it is in the way, and begin anew: after a case that went wrong."""
        for name in INTERFACES:
            for mode in ("xdpgeneric", "xdpdrv"):
                subprocess.run(["ip", "link", "set", name, mode, "off"], check=False, capture_output=True)
            subprocess.run(["tc", "qdisc", "del", "dev", name, "clsact"], check=False, capture_output=True)
        self.configure()
        with suppress(LoaderError):
            self.daemon.ask(self.daemon.service.confirm())
        self.daemon.ask(self.daemon.service.reload(partial=True))

    def unattached(self, name: str) -> None:
        """The same with one entry detached by request."""
        self.ready()
        self.daemon.ask(self.daemon.service.detach(name))

    def changed(self, *names: str) -> None:
        """The same with other objects written."""
        self.ready()
        self.change(*names)

    def everything_changes(self) -> None:
        """The same, and the configuration written changes every entry, ends one and has a new one."""
        self.changed("edge", "wire", "side")
        self.configure(self._entry("more", "veth2", "xdp", "stamp_xdp") | {"object": self.extra}, tail=None)

    def filled(self) -> None:
        """The same, and the configuration written has a new entry with a map to be filled."""
        self.ready()
        init = {"flows": str(self.init)}
        more = {**self._entry("more", "veth2", "xdp", "use_maps"), "object": self.maps, "map_init": init}
        self.configure(more)

    def migrating(self) -> None:
        """The same with a map of another size, and written is one that asks for migration."""
        self.ready()
        frames = self.marked.name("xdp_frames")
        self.configure(edge={"max_entries": {frames: 2}, "on_mismatch": "recreate"})
        self.daemon.ask(self.daemon.service.reload())
        self.configure(edge={"max_entries": {frames: 4}, "on_mismatch": "migrate"})

    def gap(self) -> None:
        """The same, and the configuration written has another mode."""
        self.ready()
        self.configure(edge={"mode": "skb", "allow_gap": True})

    def foreign(self) -> None:
        """The same with a program of ip(8) on veth2."""
        self.ready()
        ip("link", "set", "veth2", "xdp", "obj", str(self.extra), "sec", "xdp")
        self.foreign_id = self.world().hooks["veth2 xdp"][0]

    def on_trial(self) -> None:
        """The same with a configuration that waits to be confirmed."""
        self.changed("edge", "tail")
        self.daemon.ask(self.daemon.service.reload(confirm=600))

    def attach_extra(self) -> Any:
        """Attach an object that is handed over by descriptor."""
        fd = os.open(self.extra, os.O_RDONLY)
        try:
            entry = {"name": EXTRA, "interface": "veth2", "hook": "xdp"}
            return self.daemon.ask(self.daemon.service.attach_object(AttachRequest(entry=entry, descriptor=fd)))
        finally:
            os.close(fd)

    def adopt_extra(self) -> Any:
        """Take over the program on veth2."""
        program = self.marked.name("stamp_xdp")
        entry = {"name": EXTRA, "interface": "veth2", "hook": "xdp", "object": str(self.extra), "program": program}
        with _prog(self.foreign_id) as prog:
            request = AttachRequest(entry=entry, program=prog.fileno())
            return self.daemon.ask(self.daemon.service.attach_object(request))

    def world(self) -> World:
        """Return how all stands."""
        links = json.loads(ip("-j", "link", "show"))
        hooks: dict[str, tuple[int, ...]] = {f"{link['ifname']} xdp": (link["xdp"]["prog"]["id"],) for link in links
                 if link["ifname"] in INTERFACES and "xdp" in link}  # fmt: skip
        filters = json.loads(tc("-j", "filter", "show", "dev", "veth0", "ingress") or "[]")
        hooks["veth0 tc"] = tuple(f["options"]["prog"]["id"] for f in filters if "options" in f)
        index = next(link["ifindex"] for link in links if link["ifname"] == "veth0")
        hooks["veth0 tcx"] = tuple(Bpf(bpf_syscall).chain(Ifindex(index), AttachType.TCX_EGRESS).progs)
        pins = frozenset(str(Path(pin).relative_to(BPFFS)) for pin in pin_tree() if not pin.endswith(".debug"))
        return World(hooks, pins, self._alive(), self._descriptors())

    def _descriptors(self) -> int:
        """Count them when the last client's connection has been closed."""
        counts = []
        for _ in range(1 if self.process == "self" else 10):
            counts.append(len(os.listdir(f"/proc/{self.process}/fd")))
            time.sleep(0.005)
        return min(counts)

    def _alive(self) -> tuple[int, int, int]:
        bpf, mark = Bpf(), self.marked.mark
        programs = {
            number
            for number in bpf.prog_ids()
            if _named(lambda n: bpf.prog_by_id(ProgId(n)), bpf.prog_info, number, mark)
        }
        maps = [number for number in bpf.map_ids() if _named(bpf.map_by_id, bpf.map_info, number, mark)]
        links = 0
        for number in bpf.link_ids():
            with suppress(KernelError), bpf.link_by_id(number) as link:
                links += bpf.link_info(link).prog_id in programs
        return len(programs), len(maps), links


def _prog(number: int) -> Any:
    return Bpf().prog_by_id(ProgId(number))


def _named(open_by_id: Callable[[Any], Any], info: Callable[[Any], Any], number: int, mark: str) -> bool:
    with suppress(KernelError), open_by_id(number) as fd:  # gone meanwhile, or another test's
        return bool(info(fd).name.startswith(mark))
    return False


@dataclass(frozen=True, slots=True)
class Operation:
    """`before` brings the scene to where `act` begins."""

    before: Callable[[Scene], None]
    act: Callable[[Scene], object]


def _reload(scene: Scene) -> object:
    return scene.daemon.ask(scene.daemon.service.reload())


def _attach(name: str) -> Operation:
    return Operation(lambda s: s.unattached(name), lambda s: s.daemon.ask(s.daemon.service.attach(name)))


def _detach(name: str) -> Operation:
    return Operation(Scene.ready, lambda s: s.daemon.ask(s.daemon.service.detach(name)))


def _replace(name: str) -> Operation:
    return Operation(lambda s: s.changed(name), _reload)


OPERATIONS: Mapping[str, Operation] = {
    **{f"attach-{name}": _attach(name) for name in NAMES},
    **{f"replace-{name}": _replace(name) for name in NAMES},
    **{f"detach-{name}": _detach(name) for name in NAMES},
    "reload": Operation(Scene.everything_changes, _reload),
    "gap": Operation(Scene.gap, _reload),
    "map-init": Operation(Scene.filled, _reload),
    "migrate": Operation(Scene.migrating, _reload),
    "runtime": Operation(Scene.ready, Scene.attach_extra),
    "adopt": Operation(Scene.foreign, Scene.adopt_extra),
    "on-trial": Operation(
        lambda s: s.changed("edge", "tail"), lambda s: s.daemon.ask(s.daemon.service.reload(confirm=600))
    ),
    "confirm": Operation(Scene.on_trial, lambda s: s.daemon.ask(s.daemon.service.confirm())),
}

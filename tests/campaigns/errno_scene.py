"""A daemon for G3 with its usual entries, which every operation (errno_operations) begins with.

veth0 has XDP by netlink (`edge`, with a pinned map), a TCX link (`side`) and a tc filter with a program array (`tail`),
veth1 XDP by link (`wire`); veth2 and veth3 are for what comes and goes.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tests.campaigns.errno_world import World, world_of
from tests.campaigns.marked import Marked
from tests.support.daemon import BPFFS, Daemon
from tests.support.netns import ip
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.loop.report import AS_WANTED
from xdploaderd.errors import LoaderError, NoSuchAttachmentError, UsageError

INTERFACES = ("veth0", "veth1", "veth2", "veth3")
NAMES = ("edge", "wire", "side", "tail")
EXTRA = "extra"
LOOK_SECONDS, LOOKS = 0.01, 500  # while a daemon rolls back
Entry = Mapping[str, object]
_OBJECTS = {
    "edge": ("xdp_count.bpf.o", "xdp_count_v2.bpf.o", ("xdp_count", "xdp_frames")),
    "wire": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp",)),
    "side": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_tc",)),
    "tail": ("legacy_tail.bpf.o", "legacy_tail.bpf.o", ("tail_main", "tail_hits", "tail_entry")),
    "glob": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp",)),
    EXTRA: ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp",)),
}
_FLOWS = [{"key": f"hex:{n:024x}", "value": f"hex:{n:048x}"} for n in range(1, 4)]


class Asked(Protocol):
    """A daemon, in this process or another: what `service` returns is carried out by `ask`."""

    service: Any

    def ask(self, request: Any) -> Any: ...


class BootClock:
    """The clock of deadlines, and how far it was put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_clock() + self.ahead


class Scene:
    """Configuration and objects of a daemon, and what is asked of it."""

    def __init__(self, files: Daemon) -> None:
        self.files = files
        self.marked = Marked(files.directory)
        self._versions = dict.fromkeys(_OBJECTS, 0)
        for name in _OBJECTS:
            self._write(name)
        self.extra = self.object(EXTRA)
        self.counts = self.marked.copy("tc_count.bpf.o", "tc_frames", "count_in", "count_out", to="counts.o")
        self.loaded = BPFFS / self.marked.name("loaded_by_hand")
        self.maps = self.marked.copy("std_maps.bpf.o", "use_maps", "devices", to="maps.o")
        self.init = files.directory / "flows.json"
        self.init.write_text(json.dumps(_FLOWS))
        self.baseline: dict[str, dict[str, object]] = {
            "edge": {**self.entry("edge", "veth0", "xdp", "xdp_count"), "on_mismatch": "recreate"},
            "wire": {**self.entry("wire", "veth1", "xdp", "stamp_xdp"), "attach": "link"},
            "side": {**self.entry("side", "veth0", "tc-egress", "stamp_tc"), "attach": "link"},
            "tail": self.entry("tail", "veth0", "tc-ingress", "tail_main"),
        }
        files.configure(*self.baseline.values())
        self.process = "self"  # whose descriptors are counted
        self.clock = BootClock()
        self.gaps = False  # the entries in force are of other kinds or modes
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

    def entry(self, name: str, interface: str, hook: str, program: str) -> dict[str, object]:
        """Return an entry with its marked object and program."""
        marked = self.marked.name(program)
        return {"name": name, "interface": interface, "hook": hook, "object": self.object(name), "program": marked}

    def object(self, name: str) -> Path:
        """Return where an entry's object is."""
        return self.files.directory / f"{self.marked.mark}{name}.o"

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
        with suppress(UsageError):  # none waits
            self.daemon.ask(service.confirm())
        self.release()
        if self.gaps:
            self.allow_gaps()
            self.daemon.ask(service.reload())
            self.gaps = False
        self.configure()
        self.daemon.ask(service.reload())
        for status in self.daemon.ask(service.list()):
            if status.name == EXTRA:
                self.daemon.ask(service.detach(EXTRA))
            elif status.state != "attached":
                self.daemon.ask(service.attach(status.name))
        ip("link", "set", "veth2", "xdp", "off")
        self.remove_loaded()

    def allow_gaps(self, **changed: Entry) -> None:
        """Write the configuration where each entry may be without a program while its kind or mode changes."""
        usual = {name: {"allow_gap": True, **changed.get(name, {})} for name in NAMES}
        self.configure(**{**usual, "edge": {"mode": "native", **usual["edge"]}})
        self.gaps = True

    def remove_loaded(self) -> None:
        """Remove what `load` pinned."""
        if self.loaded.exists():
            shutil.rmtree(self.loaded)
        (BPFFS / self.marked.name("tc_frames")).unlink(missing_ok=True)

    def release(self) -> None:
        """End all holds: one outlives its entry."""
        for entry in {status.name.partition("@")[0] for status in self.daemon.ask(self.daemon.service.list())} - {
            EXTRA
        }:
            with suppress(LoaderError):
                self.daemon.ask(self.daemon.service.attach(entry))

    def reset(self) -> None:
        """Take everything off, as far as it is in the way, and begin anew: after a case that went wrong."""
        for name in INTERFACES:
            for mode in ("xdpgeneric", "xdpdrv"):
                subprocess.run(["ip", "link", "set", name, mode, "off"], check=False, capture_output=True)
            subprocess.run(["tc", "qdisc", "del", "dev", name, "clsact"], check=False, capture_output=True)
        with suppress(LoaderError):
            self.daemon.ask(self.daemon.service.confirm())
        self.release()
        self.configure()
        self.daemon.ask(self.daemon.service.reload(partial=True))

    async def rolled_back(self) -> None:
        """Return when nothing is on trial any more and all entries are as wanted."""
        service = self.daemon.service
        for _ in range(LOOKS):
            status = await service.status()
            if not status.confirm_seconds and all(found.state in AS_WANTED for found in status.attachments):
                break
            await asyncio.sleep(LOOK_SECONDS)
        with suppress(NoSuchAttachmentError):  # who asks waits for the end of the roll-back
            await service.detach("nobody")

    def world(self) -> World:
        """Return how all stands."""
        return world_of(INTERFACES, self.marked.mark, self.process, self.files)

"""A daemon in this process with three interfaces and marked objects, to be killed at a write and started again."""

import gc
import json
import subprocess
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

from tests.campaigns.interrupted.stand import Eyes
from tests.campaigns.machine import host
from tests.campaigns.machine.core import Clock, Core
from tests.campaigns.machine.writes import KilledError
from tests.campaigns.marked import Marked
from tests.support.netns import ip
from tests.support.sandbox import clear_pins
from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.errors import LoaderError

Entry = Mapping[str, object]

INTERFACES = ("i0", "i1", "i2")
LOADS = frozenset({"PROG_LOAD", "MAP_CREATE", "BTF_LOAD", "MAP_FREEZE", "LINK_CREATE", "PROG_TEST_RUN"})
RTNL = frozenset({"SETLINK", "NEWQDISC", "DELQDISC", "NEWTFILTER", "DELTFILTER"})
RETRY_SECONDS = 5.0  # in which all is to be in order
GRACE_SECONDS = 61.0  # after which an orphan goes
_OBJECTS = {
    "a": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp", "stamp_tc", "stamp_counts", "stamp_seen")),
    "b": ("stamp.bpf.o", "stamp_v2.bpf.o", ("stamp_xdp", "stamp_tc", "stamp_counts", "stamp_seen")),
    "tail": ("legacy_tail.bpf.o", "legacy_tail.bpf.o", ("tail_main", "tail_hits", "tail_entry")),
    "maps": ("std_maps.bpf.o", "std_maps.bpf.o", ("use_maps", "devices")),
    "count": ("xdp_count.bpf.o", "xdp_count_v2.bpf.o", ("xdp_count", "xdp_frames")),
}


class Scene:
    """One life of interfaces, files and daemon."""

    def __init__(self, directory: Path, eyes: Eyes) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.eyes = eyes
        self.clock = Clock()
        self.core = Core(directory, self.clock)
        self.marked = Marked(directory)
        self.entries: tuple[Entry, ...] = ()
        self.first: tuple[Entry, ...] = ()  # the configuration that the scene began with
        self.writes: list[str] = []  # of the last operation, the one that it was killed at included
        self.digests: dict[str, str] = {}
        self._versions = dict.fromkeys(_OBJECTS, 0)
        self.change()
        if eyes.kernel:
            self.core.state.mkdir()
            (self.core.state / "kernel").write_bytes(eyes.kernel)
        add(*INTERFACES)

    def change(self, *names: str) -> None:
        """Write objects, or the other version of some."""
        for name in names or _OBJECTS:
            self._versions[name] ^= bool(names)
            first, second, marks = _OBJECTS[name]
            path = self.marked.copy((first, second)[self._versions[name]], *marks, to=f"{name}.o")
            if first == second:
                path.write_bytes(path.read_bytes() + bytes(self._versions[name]))
            for digest in (sha1(path.read_bytes(), usedforsecurity=False), sha256(path.read_bytes())):
                self.digests[digest.hexdigest()] = f"{name}{self._versions[name]}"

    def path(self, name: str) -> str:
        """Return the path of an object."""
        return str(self.directory / f"{self.marked.mark}{name}.o")

    def configure(self, *entries: Entry) -> None:
        """Write the configuration."""
        self.entries = entries
        whole = [self.entry(entry) for entry in entries]
        self.core.config.write_text(json.dumps({"attachments": whole}))

    def entry(self, entry: Entry) -> dict[str, object]:
        """Return an entry with the object's path and the marked name of the program."""
        path, program = self.path(str(entry["object"])), self.marked.name(str(entry["program"]))
        return {**entry, "object": path, "program": program}

    def start(self) -> None:
        """Start a daemon, and let it keep what it began with."""
        self.core.start()
        with suppress(FileNotFoundError):
            self.eyes.kernel = (self.core.state / "kernel").read_bytes()
        with suppress(LoaderError):  # nothing waits; it is told when what begins a run has come to its end
            self.core.call(self.core.service.confirm())

    def request(self, verb: str, *words: Any) -> None:
        """Ask the daemon for something."""
        self.core.call(getattr(self.core.service, verb)(*words))

    def attach_runtime(self, entry: Entry) -> None:
        """Attach by request."""
        texts = {key: str(value) for key, value in self.entry(entry).items()}
        self.request("attach_object", AttachRequest(entry=texts))

    def later(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.ahead += seconds
        self.core.look()

    def take_all_off(self) -> None:
        """Take off what runs, and remove all pins and what is remembered of them."""
        for name in self.eyes.interfaces():
            for mode in ("xdpdrv", "xdpgeneric"):
                host.run("ip", "link", "set", name, mode, "off")
            host.run("tc", "qdisc", "del", "dev", name, "clsact")
        clear_pins()
        (self.core.state / "records").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove interfaces and pins; the daemon has ended."""
        self.core.close()
        delete(*self.eyes.interfaces())
        clear_pins()

    def killed_at(self, number: int, act: Callable[[], None]) -> None:
        """Let the daemon do something until it is about to make that write, then kill it, or at the end."""
        self.writes = []

        def is_last(kind: str) -> bool:
            if _writes(kind):
                self.writes.append(kind)
            return len(self.writes) > number

        with warnings.catch_warnings(), self.core.writes.ending_before(is_last):
            warnings.simplefilter("ignore", ResourceWarning)  # a killed process closes nothing itself
            try:
                with suppress(KilledError, CancelledError, LoaderError):
                    act()
            finally:
                with suppress(KilledError):
                    self.core.end()
                gc.collect()


def _writes(kind: str) -> bool:
    """Whether a call leaves something that outlives the process."""
    door, _, call = kind.partition(" ")
    if door == "bpf":
        return call not in LOADS and not any(word in call for word in ("GET", "QUERY", "LOOKUP"))
    return door == "file" or kind in RTNL


def add(*names: str) -> None:
    """Make interfaces, each with another end that is called pNAME and an alternative name alt-NAME."""
    lines = (
        f"link add {name} type veth peer name p{name}\nlink set p{name} up\nlink set {name} up\n"
        f"link property add dev {name} altname alt-{name}\n"
        for name in names
    )
    ip("-batch", "-", text="".join(lines))


def delete(*names: str) -> None:
    """Delete interfaces, those of them that are there."""
    text = "".join(f"link del {name}\n" for name in names)
    subprocess.run(["ip", "-force", "-batch", "-"], input=text, text=True, capture_output=True, check=False)

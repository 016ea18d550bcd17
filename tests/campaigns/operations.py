"""What is asked of a daemon that is to be killed meanwhile: each operation, what comes before it, what must stay.

veth0 has two configured entries, one for XDP and one for tc with a program array; veth1 is for runtime entries.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.marked import Marked
from tests.support.daemon import Daemon, tc_ids, xdp_id
from tests.support.netns import ip
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgId

RUNTIME = {"name": "extra", "interface": "veth1", "hook": "xdp"}


class Scene:
    """A daemon with marked objects, in the state that an operation begins with."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon = daemon
        self.marked = Marked(directory)
        self.kept: Mapping[str, int] = {}  # programs before the operation
        self._version = 0
        self._write(0)
        edge = {"name": "edge", "interface": "veth0", "hook": "xdp", "program": self.marked.name("xdp_count")}
        tail = {"name": "tail", "interface": "veth0", "hook": "tc-ingress", "program": self.marked.name("tail_main")}
        daemon.configure({**edge, "object": self._edge}, {**tail, "object": self._tail})
        self.extra = self.marked.copy("stamp.bpf.o", "stamp_xdp")
        daemon.start()

    def _write(self, version: int) -> None:
        self._edge = self.marked.copy(("xdp_count.bpf.o", "xdp_count_v2.bpf.o")[version], "xdp_count", to="edge.o")
        self._tail = self.marked.copy("legacy_tail.bpf.o", "tail_main", to="tail.o")
        self._tail.write_bytes(self._tail.read_bytes() + bytes(version))

    def replace_objects(self) -> None:
        """Write the other version of both configured objects."""
        self._version = 1 - self._version
        self._write(self._version)

    def everything_attached(self) -> None:
        """Bring about the state before all operations but `attach`."""
        self.daemon.call("Reload")
        for name in ("edge", "tail"):
            self.daemon.call("Attach", name=name)
        self._nothing_on_veth1()

    def one_detached(self) -> None:
        """Bring about the state before `attach`."""
        self.everything_attached()
        self.daemon.call("Detach", name="tail")

    def foreign_program(self) -> None:
        """Bring about the state before `adopt`: a program of ip(8) on veth1."""
        self.everything_attached()
        ip("link", "set", "veth1", "xdp", "obj", str(self.extra), "sec", "xdp")

    def _nothing_on_veth1(self) -> None:
        if RUNTIME["name"] in self.daemon.names():
            self.daemon.call("Detach", name=RUNTIME["name"])
        ip("link", "set", "veth1", "xdp", "off")

    def attach(self) -> None:
        """Attach what was detached by request."""
        self.daemon.call("Attach", name="tail")

    def detach(self) -> None:
        """Detach a configured entry."""
        self.daemon.call("Detach", name="tail")

    def reload(self) -> None:
        """Reload with other objects for both entries."""
        self.daemon.call("Reload")

    def attach_runtime(self) -> None:
        """Attach an object that is handed over by descriptor."""
        fd = os.open(self.extra, os.O_RDONLY)
        try:
            self.daemon.call("AttachObject", entry=RUNTIME, descriptor=0, descriptors=(fd,))
        finally:
            os.close(fd)

    def adopt(self) -> None:
        """Take over the program that runs on veth1."""
        entry = {**RUNTIME, "object": str(self.extra), "program": self.marked.name("stamp_xdp")}
        with Bpf().prog_by_id(ProgId(xdp_id("veth1"))) as prog:
            self.daemon.call("AttachObject", entry=entry, program=0, descriptors=(prog.fileno(),))

    def programs(self) -> Mapping[str, int]:
        """Return the ids of the programs: at XDP and tc ingress of veth0 (0: none or several), at XDP of veth1."""
        filters = tc_ids()
        return {"edge": xdp_id(), "tail": filters[0] if len(filters) == 1 else 0, "veth1": xdp_id("veth1")}


@dataclass(frozen=True, slots=True)
class Operation:
    """`before` brings the scene to where `act` begins; `kept`: hooks that keep a program whatever happens.

    `again`: where it is cut short the entry may be there, in state `foreign`, and the operation is asked for again.
    """

    before: Callable[[Scene], None]
    act: Callable[[Scene], None]
    kept: tuple[str, ...]
    again: bool = False

    def asked(self, scene: Scene) -> bool:
        """Carry it out; False: the daemon did not answer, or that it failed."""
        with suppress(LoaderError, OSError):
            self.act(scene)
            return True
        return False


def reload_of_others(scene: Scene) -> None:
    """Bring about the state before `reload`."""
    scene.everything_attached()
    scene.replace_objects()


OPERATIONS: Mapping[str, Operation] = {
    "attach": Operation(Scene.one_detached, Scene.attach, ("edge",)),
    "detach": Operation(Scene.everything_attached, Scene.detach, ("edge",)),
    "reload": Operation(reload_of_others, Scene.reload, ("edge", "tail")),
    "runtime": Operation(Scene.everything_attached, Scene.attach_runtime, ("edge", "tail")),
    "adopt": Operation(Scene.foreign_program, Scene.adopt, ("edge", "tail", "veth1"), again=True),
}

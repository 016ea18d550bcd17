"""What is asked of a daemon that is to be killed meanwhile: each operation, what comes before it, what must stay.

veth0 has two configured entries, one for XDP and one for tc with a program array; veth1 is for runtime entries.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.marked import Marked
from tests.support.daemon import Daemon, tc_ids, xdp_id, xdp_ids
from tests.support.netns import ip
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import ProgId

RUNTIME = {"name": "extra", "interface": "veth1", "hook": "xdp"}
NAMES = ("xdp_count", "xdp_frames", "tail_main", "tail_hits")  # of programs and maps, to be marked

Entry = dict[str, object]


class Scene:
    """A daemon with marked objects, in the state that an operation begins with."""

    def __init__(self, daemon: Daemon, directory: Path, peers: Mapping[str, int]) -> None:
        self.daemon = daemon
        self.peers = peers  # the namespace of each interface's other end
        self.marked = Marked(directory)
        self.kept: Mapping[str, int] = {}  # programs before the operation
        self.on_disk = ""  # what a kill left on disk of a configuration on trial
        self.more: Callable[[], object] = lambda: None  # what besides makes up the shape of all
        self._version = self._extra_version = 0
        self._write(0)
        self._write_extra()
        daemon.configure(self.edge(), self.tail())
        daemon.start()

    @property
    def objects(self) -> tuple[Path, ...]:
        """Return the objects that entries name."""
        return self._edge, self._tail, self.extra

    def edge(self, name: str = "edge", **fields: object) -> Entry:
        """Return an entry that counts at XDP of veth0."""
        program = self.marked.name("xdp_count")
        made = {"name": name, "interface": "veth0", "hook": "xdp", "program": program, "object": self._edge}
        return {**made, **fields}

    def tail(self, name: str = "tail", **fields: object) -> Entry:
        """Return an entry with a program array at tc ingress of veth0."""
        program = self.marked.name("tail_main")
        made = {"name": name, "interface": "veth0", "hook": "tc-ingress", "program": program, "object": self._tail}
        return {**made, **fields}

    def _write(self, version: int) -> None:
        self._edge = self.marked.copy(("xdp_count.bpf.o", "xdp_count_v2.bpf.o")[version], *NAMES, to="edge.o")
        self._tail = self.marked.copy("legacy_tail.bpf.o", *NAMES, to="tail.o")
        self._tail.write_bytes(self._tail.read_bytes() + bytes(version))

    def _write_extra(self) -> None:
        self.extra = self.marked.copy(("stamp.bpf.o", "stamp_v2.bpf.o")[self._extra_version], "stamp_xdp", to="extra.o")

    def replace_extra(self) -> None:
        """Write the other version of the object for the runtime entry."""
        self._extra_version = 1 - self._extra_version
        self._write_extra()

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

    def other_objects(self) -> None:
        """Bring about the state before `reload`."""
        self.everything_attached()
        self.replace_objects()

    def ended_with_other_objects(self) -> None:
        """Bring about the state before `start`."""
        self.other_objects()
        self.kept = self.programs()
        self.daemon.end()

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

    def start(self) -> None:
        """Start the daemon, and wait for it or its end."""
        self.daemon.start(may_end=True)

    def attach_runtime(self, confirm: int = 0) -> None:
        """Attach an object that is handed over by descriptor."""
        fd = os.open(self.extra, os.O_RDONLY)
        try:
            self.daemon.call("AttachObject", entry=RUNTIME, descriptor=0, descriptors=(fd,), confirm=confirm)
        finally:
            os.close(fd)

    def adopt(self) -> None:
        """Take over the program that runs on veth1."""
        entry = {**RUNTIME, "object": str(self.extra), "program": self.marked.name("stamp_xdp")}
        with Bpf().prog_by_id(ProgId(xdp_id("veth1"))) as prog:
            self.daemon.call("AttachObject", entry=entry, program=0, descriptors=(prog.fileno(),))

    def is_alive(self) -> bool:
        """Return whether the daemon runs."""
        return self.daemon.process is not None and self.daemon.process.poll() is None

    def programs(self) -> Mapping[str, int]:
        """Return the ids of the programs: at XDP and tc ingress of veth0 (0: none or several), at XDP of veth1."""
        filters, slots = tc_ids(), xdp_ids()
        tail = filters[0] if len(filters) == 1 else 0
        return {"edge": slots.get("veth0", 0), "tail": tail, "veth1": slots.get("veth1", 0)}


def nothing(_scene: Scene, _number: int = 0) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`before` brings the scene to where `act` begins; `kept`: hooks that keep a program whatever happens.

    `unchanged`: hooks that keep that very program. `again`: where it is cut short the entry may be there, in state
    `foreign`, and the operation is asked for again. `starts`: it begins without a daemon. `dead` looks at what a kill
    left, and `settle` brings what the next daemon found to an end, in one way for odd kills, in another one for even
    ones. `ends`: all that may come of it, each brought about by the steps, from the state before, which may stay
    with `may_do_nothing`. `failing`: entries
    that cannot be carried out.
    """

    before: Callable[[Scene], None]
    act: Callable[[Scene], None]
    kept: tuple[str, ...]
    unchanged: tuple[str, ...] = ()
    again: bool = False
    starts: bool = False
    dead: Callable[[Scene], None] = nothing
    settle: Callable[[Scene, int], None] = nothing
    ends: tuple[Callable[[Scene], None], ...] = (nothing,)
    may_do_nothing: bool = True
    failing: tuple[str, ...] = ()

    def asked(self, scene: Scene) -> bool:
        """Carry it out; False: the daemon did not answer, or that it failed."""
        with suppress(LoaderError, OSError):
            self.act(scene)
            return True
        return False


ATTACHED = ("edge", "tail")
OPERATIONS: Mapping[str, Operation] = {
    "attach": Operation(before=Scene.one_detached, act=Scene.attach, kept=("edge",)),
    "detach": Operation(before=Scene.everything_attached, act=Scene.detach, kept=("edge",)),
    "reload": Operation(before=Scene.other_objects, act=Scene.reload, kept=ATTACHED),
    "runtime": Operation(before=Scene.everything_attached, act=Scene.attach_runtime, kept=ATTACHED),
    "adopt": Operation(
        before=Scene.foreign_program, act=Scene.adopt, kept=(*ATTACHED, "veth1"), unchanged=("veth1",), again=True
    ),
    "start": Operation(
        before=Scene.ended_with_other_objects, act=Scene.start, kept=ATTACHED, starts=True, may_do_nothing=False
    ),
}

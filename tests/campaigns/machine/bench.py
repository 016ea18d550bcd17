"""The real thing and the model beside it: each step is done to both, then they are compared."""

import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.machine import host
from tests.campaigns.machine.checks import check_hooks, check_pins, check_status
from tests.campaigns.machine.core import Clock, Core
from tests.campaigns.machine.host import Spot
from tests.campaigns.machine.model import BAD, MISSING, Entry, Model, Prog
from tests.campaigns.marked import Marked
from tests.support.sandbox import clear_pins
from xdploaderd.daemon.requests import AttachRequest
from xdploaderd.daemon.status import State
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import Hook

NAMES = ("g0", "g1", "g2", "h0")
LONGEST = 400.0  # seconds: more than the longest wait before an action is tried again
Fault = tuple[int, int]  # which write fails, and its errno

PROGRAMS = {Hook.XDP: "stamp_xdp", Hook.TC_INGRESS: "stamp_tc", Hook.TC_EGRESS: "stamp_tc"}


@dataclass
class Tally:
    """What was done in all sequences."""

    sequences: int = 0
    steps: int = 0
    loads: int = 0
    starts: int = 0
    refused: int = 0
    faults: int = 0


@dataclass
class Bench:
    """One directory and one set of interface names, used for one sequence after the other."""

    directory: Path
    tally: Tally = field(default_factory=Tally)

    def begin(self) -> None:
        """Make all that a sequence begins with: files, the programs of others, a model; no interface, no daemon."""
        self.home = self.directory / f"run{self.tally.sequences}"
        self.home.mkdir(mode=0o700)
        self.marked = Marked(self.home)
        sources = {"v1": "stamp.bpf.o", "v2": "stamp_v2.bpf.o"}
        self.contents = {
            content: self.marked.copy(file, *set(PROGRAMS.values())).read_bytes() for content, file in sources.items()
        }
        self.contents[BAD] = b"no object"
        self.others = {hook: Prog(id=number) for hook, number in host.pin_others().items()}
        self.known = {prog.id for prog in self.others.values()}
        self.clock = Clock()
        self.core = Core(self.home, self.clock)
        self.model = Model()
        self.down: set[int] = set()
        self.alive = False
        for file in ("a.o", "b.o"):
            self._write_file(file, "v1")
        self._write_config()

    def finish(self) -> None:
        """Remove it all; AssertionError where a program is left."""
        try:
            if self.alive:
                self.core.end()
            self.core.close()
        finally:
            host.delete(list(self.model.interfaces))
            clear_pins()
        self.marked.settled_at(0, 0)
        shutil.rmtree(self.home)
        self.tally.sequences += 1

    # The world

    def add(self, name: str) -> None:
        host.add(name)
        self.model.interfaces[name] = host.index_of(name)

    def delete(self, name: str) -> None:
        host.delete([name])
        index = self.model.interfaces.pop(name)
        self.model.hooks = {spot: prog for spot, prog in self.model.hooks.items() if spot.ifindex != index}

    def rename(self, name: str, new: str) -> None:
        host.run("ip", "link", "set", name, "name", new)
        self.model.interfaces[new] = self.model.interfaces.pop(name)

    def set_link(self, name: str, words: str) -> None:
        """Bring an interface up or down, or set its MTU."""
        host.run("ip", "link", "set", name, *words.split())
        index = self.model.interfaces[name]
        self.down = self.down | {index} if words == "down" else self.down - {index} if words == "up" else self.down

    def take_off(self, spot: Spot, name: str) -> None:
        """Somebody takes whatever there is off a hook."""
        self.silent = (
            spot.ifindex in self.down and spot.hook is Hook.XDP
        )  # the kernel tells nobody (netdev_state_change)
        host.take_off(name, spot)
        self.model.hooks.pop(spot, None)

    def put_other(self, spot: Spot, name: str) -> None:
        """Somebody puts his own program on a hook, whatever is there."""
        self.silent = spot.ifindex in self.down and spot.hook is Hook.XDP
        host.put_other(name, spot)
        self.model.hooks[spot] = self.others[spot.hook]

    def delete_clsact(self, name: str) -> None:
        """Somebody deletes clsact with all filters."""
        host.run("tc", "qdisc", "del", "dev", name, "clsact")
        gone = {spot for spot in self.model.hooks if spot.ifindex == self.model.interfaces[name] and spot.slot}
        self.model.hooks = {spot: prog for spot, prog in self.model.hooks.items() if spot not in gone}

    def write_file(self, file: str, content: str) -> None:
        """Somebody replaces an object file; it is noticed by nobody until somebody asks."""
        self._write_file(file, content)
        if self.alive:
            self.core.look()

    def _write_file(self, file: str, content: str) -> None:
        self.model.files[file] = content
        new, path = self.home / "new", self.home / file
        path.unlink(missing_ok=True)
        if content != MISSING:
            new.write_bytes(self.contents[content])
            new.replace(path)

    # Operators

    def write_entry(self, entry: Entry) -> None:
        """Write an entry into the configuration, in place of those that it cannot stand beside."""
        rival = entry.where, entry.spot
        kept = {e.name: e for e in self.model.disk.values() if entry.glob or (e.where, e.spot) != rival}
        self.model.disk = {**kept, entry.name: entry}
        self._write_config()

    def remove_entry(self, name: str) -> None:
        self.model.disk.pop(name, None)
        self._write_config()

    def _write_config(self) -> None:
        entries = [self._entry_text(entry) for entry in self.model.disk.values()]
        self.core.config.write_text("attachments:\n" + "".join(entries) if entries else "attachments: []\n")

    def _entry_text(self, entry: Entry) -> str:
        where = f'match: {{name: "{entry.where}"}}' if entry.glob else f"interface: {entry.where}"
        values = [
            f"name: {entry.name}",
            where,
            f"hook: {entry.hook}",
            f"object: {self.home / entry.file}",
            f"program: {self.marked.name(PROGRAMS[entry.hook])}",
            f"on_foreign: {entry.on_foreign}",
            f"force: {str(entry.force).lower()}",
        ]
        values += [f"priority: {entry.priority}"] if entry.priority else []
        return "".join(f"{'    ' if number else '  - '}{value}\n" for number, value in enumerate(values))

    def start(self) -> None:
        """Start the daemon."""
        self.core.start()
        self.alive = True
        self.tally.starts += 1
        self.model.now = self.clock.steady()
        self.model.start()

    def kill(self) -> None:
        """Kill it while it rests."""
        self.core.end()
        self.alive = False

    def reload(self) -> None:
        done = self._try(self.core.service.reload())
        self._tell(done, self.model.reload, self.model.keep_last_good)

    def reload_partial(self) -> None:
        done = self._try(self.core.service.reload(partial=True))
        self.model.now = self.clock.steady()
        self.model.adopt()
        assert done or self.core.writes.armed, self.refusal

    def attach(self, name: str) -> None:
        done = self._try(self.core.service.attach(name))
        self._tell(done, lambda: self.model.attach(name), lambda: self.model.attach(name))

    def attach_object(self, entry: Entry) -> None:
        """Attach what no file configures."""
        values: dict[str, object] = {
            "name": entry.name,
            "interface": entry.where,
            "hook": entry.hook.value,
            "object": str(self.home / entry.file),
            "program": self.marked.name(PROGRAMS[entry.hook]),
            "on_foreign": entry.on_foreign.value,
        }
        values |= {"priority": entry.priority} if entry.priority else {}
        done = self._try(self.core.service.attach_object(AttachRequest(entry=values, force=entry.force)))
        self._tell(done, lambda: self.model.attach_object(entry), lambda: self.model.refuse_object(entry))

    def detach(self, name: str) -> None:
        done = self._try(self.core.service.detach(name))
        self._tell(done, lambda: self.model.detach(name), lambda: self.model.detach(name))

    def sweep(self) -> None:
        done = self._try(self.core.service.sweep())
        self.model.now = self.clock.steady()
        self.model.orphans = dict.fromkeys(self.model.orphans, 0.0)
        self.model.settle()
        assert done or self.core.writes.armed, self.refusal

    def _try(self, request: Coroutine[Any, Any, object]) -> bool:
        """Make a request and return whether it was granted."""
        self.refusal = ""
        try:
            self.core.call(request)
        except LoaderError as error:
            self.refusal = str(error)
            self.tally.refused += 1
        return not self.refusal

    def _tell(self, done: bool, granted: Callable[[], bool], failed: Callable[[], object]) -> None:
        """Tell the model, which says by `granted` what was to come of it; a write that failed may have refused it."""
        self.model.now = self.clock.steady()
        if self.core.writes.armed and not done:
            failed()
            return
        fine = granted()
        assert fine is done, f"refused: {self.refusal}" if fine else "a request was not refused"

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.ahead += seconds
        if self.alive:
            self.core.look()

    # After each step

    def step(self, change: Callable[[], None], *, lost: bool = False, fault: Fault | None = None) -> None:
        """Take a step, let the daemon rest, tell the model, and compare; `lost`: it missed all events of the step.

        Where the model says that nothing changed, nothing was written to the kernel. `fault`: one of its writes fails,
        and after the longest wait for a retry all is as if none had.
        """
        self.tally.steps += 1
        before, self.core.writes.done, self.silent = self.model.changes, [], False
        if fault is not None:
            self.core.writes.fail(*fault)
        change()
        if fault is not None and self.alive:
            self.core.rest()
        self.core.writes.fail(0, 0)
        if fault is not None and self.alive:
            self.wait(LONGEST)
            self.tally.faults += 1
        if self.alive:
            self.core.miss_events() if lost or self.silent else self.core.rest()
            self.model.stuck = self._still_failed()
            self.model.now = self.clock.steady()
            self.model.settle()
        check_hooks(self.model, host.observe(NAMES), self.known)
        check_pins(self.model)
        if self.alive:
            check_status(self.model, self.core)
        if self.model.changes == before and fault is None:
            assert not self.core.writes.done, f"nothing had to be done, and yet: {self.core.writes.done}"

    def _still_failed(self) -> set[str]:
        """Return what failed before and still does: the model cannot know when it is tried again."""
        before = {name for name, state in self.model.states.items() if state is State.FAILED}
        now = self.core.call(self.core.service.status()).attachments
        return {one.name for one in now if one.state is State.FAILED and one.name in before}

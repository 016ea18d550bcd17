"""The real thing and the model beside it: each step is done to both, then they are compared."""

import gc
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.machine import asking, host
from tests.campaigns.machine.checks import check_hooks, check_maps, check_pins, check_status, take_order
from tests.campaigns.machine.core import Clock, Core
from tests.campaigns.machine.host import Spot
from tests.campaigns.machine.model import Model
from tests.campaigns.machine.modes import is_refused
from tests.campaigns.machine.settling import settle
from tests.campaigns.machine.things import BAD, INIT, LADDER, MISSING, Entry, Prog
from tests.campaigns.marked import Marked
from tests.support.daemon import SLOWNESS
from tests.support.sandbox import clear_pins
from xdploaderd.daemon.plan.status import State
from xdploaderd.hooks import Hook

NAMES = ("g0", "g1", "g2", "h0")
PATIENCE = 5.0 * SLOWNESS  # seconds that the kernel may take to free what hung on a descriptor
LONGEST = 400.0  # seconds: more than the longest wait before an action is tried again
Fault = tuple[int, int]  # which write fails, and its errno

PROGRAMS = {Hook.XDP: "noted_xdp", Hook.TC_INGRESS: "noted_tc", Hook.TC_EGRESS: "noted_tc"}
MAP = "noted_word"
WORDS = ("7", "9")  # that it is filled with


@dataclass
class Bench:
    """One directory and one set of interface names, used for one sequence after the other."""

    directory: Path
    steps: int  # of a whole sequence
    eyes: host.Eyes
    tally: Counter[str] = field(default_factory=Counter)  # what was done, up to the first sequence that failed
    failed: bool = False
    turn: int = 0

    def begin(self) -> None:
        """Make all that a sequence begins with: files, the programs of others, a model; no interface, no daemon."""
        self.turn += 1
        self.counts = Counter[str]()
        self.home = self.directory / f"run{self.turn}"
        self.home.mkdir(mode=0o700)
        self.marked = Marked(self.home)
        sources = {"v1": "noted.bpf.o", "v2": "noted_v2.bpf.o"}
        self.contents = {
            content: self.marked.copy(file, MAP, *set(PROGRAMS.values())).read_bytes()
            for content, file in sources.items()
        }
        self.contents[BAD] = b"no object"
        self.contents |= {number: _words(int(number)) for number in WORDS}
        self.others = {hook: Prog(id=number) for hook, number in host.pin_others().items()}
        self.known = {prog.id for prog in self.others.values()}
        self.clock = Clock()
        self.core = Core(self.home, self.clock)
        self.model = Model()
        self.down: set[int] = set()
        self.alive = self.silent = False
        for file in ("a.o", "b.o"):
            self.put_file(file, "v1")
        self.put_file(INIT, WORDS[0])
        self.put_config()

    def finish(self) -> None:
        """Remove it all; AssertionError where a program is left."""
        try:
            if self.alive:
                self.core.end()
            self.core.close()
        finally:
            host.delete(list(self.model.interfaces))
            clear_pins()
        if not self.failed:  # else the error's traceback may hold descriptors, and that is the one to tell
            if self.counts["killed"]:
                gc.collect()  # what was cut off refers to itself, and to what it had open
            self.marked.settled_at(0, 0)
        shutil.rmtree(self.home)
        if not self.failed:  # else this was a try of the search for the shortest sequence that fails
            self.counts["sequences" if self.counts["steps"] == self.steps else "shorter"] = 1
            self.tally.update(self.counts)

    def start(self) -> None:
        """Start the daemon."""
        self.core.start()
        self.alive = True
        self.counts["starts"] += 1
        self._is_trial_over()
        self.model.now = self.clock.steady()
        asking.start(self.model)

    def kill(self) -> None:
        """Kill it while it rests."""
        self.core.end()
        self.alive = False

    # Files

    def put_file(self, file: str, content: str) -> None:
        """Write an object file, or remove it, as one step."""
        self.model.files[file] = content
        new, path = self.home / "new", self.home / file
        path.unlink(missing_ok=True)
        if content != MISSING:
            new.write_bytes(self.contents[content])
            new.replace(path)

    def put_config(self) -> None:
        """Write the configuration as the model has it."""
        entries = [{**self.values(entry), "force": entry.force} for entry in self.model.disk.values()]
        self.core.config.write_text(json.dumps({"attachments": entries}))  # which is YAML too

    def values(self, entry: Entry) -> dict[str, object]:
        """Return an entry as a file or a request has it."""
        where = {"match": {"name": entry.where}} if entry.glob else {"interface": entry.where}
        return {
            "name": entry.name,
            **where,
            "hook": entry.hook.value,
            "object": str(self.home / entry.file),
            "program": self.marked.name(PROGRAMS[entry.hook]),
            "on_foreign": entry.on_foreign.value,
            **({"priority": entry.priority} if entry.priority and not entry.link else {}),
            **({"attach": "link"} if entry.link else {}),
            **({"order": entry.order} if entry.order and entry.link and entry.hook is not Hook.XDP else {}),
            **(_mode(entry.mode) if entry.hook is Hook.XDP else {}),
            **({"maps": "shared"} if entry.shared else {}),
            **({"keep_maps": [self.marked.name(MAP)]} if entry.keep else {}),
            **({"map_init": {self.marked.name(MAP): str(self.home / INIT)}} if entry.init else {}),
            "allow_gap": entry.gap,
        }

    # A step

    def step(self, change: Callable[[], None], *, lost: bool = False, fault: Fault | None = None) -> None:
        """Take a step, let the daemon rest, tell the model, and compare; `lost`: it missed all events of the step.

        Where the model says that nothing changed, nothing was written to the kernel; a kill within a change, the first
        load of all, and tries that a driver refuses, are not judged so. `fault`: one of the writes fails, and after the
        longest wait for a retry all is as if none had.
        """
        try:
            self._step(change, lost=lost, fault=fault)
        except BaseException:
            self.failed = True
            raise
        self.counts["steps"] += 1

    def _step(self, change: Callable[[], None], *, lost: bool, fault: Fault | None) -> None:
        before, self.core.writes.done, self.silent = self._spent(), [], False
        if fault is not None:
            self.core.writes.fail(*fault)
        change()
        if fault is not None:
            self._outlive_fault()
        if self.alive:
            self.core.miss_events() if lost or self.silent else self.core.rest()
            self.model.stuck = self.still_failed()
            self.model.now = self.clock.steady()
            settle(self.model)
        self._compare()
        if (
            self._spent() == before
            and fault is None
            and not any(is_refused(self.model, w) for w in self.model.wishes())
        ):
            assert not self.core.writes.done, f"nothing had to be done, and yet: {self.core.writes.done}"

    def _spent(self) -> tuple[object, ...]:
        """Return what is another value after a step that may write: the first load of a boot probes the kernel."""
        tried = self.model.trial is not None  # with the old programs pinned once more
        return self.model.changes, tried, self.counts["killed"], (self.core.state / "kernel").exists()

    def choose(self, models: Sequence[Model]) -> None:
        """Go on with the first of these models that the kernel and the daemon are like."""
        differences = []
        for model in models:
            self.model, known = model, set(self.known)
            ids = {each: each.id for prog in self._progs() for each in (prog, prog.store)}
            try:
                self._compare()
            except AssertionError as error:
                differences.append(str(error))
                self.known = known
                for each, old in ids.items():
                    each.id = old
            else:
                return
        raise AssertionError("\n".join(dict.fromkeys(differences)))

    def _progs(self) -> Iterator[Prog]:
        yield from self.model.hooks.values()
        yield from (own.prog for own in self.model.own.values())

    def running(self) -> list[Prog]:
        """Return the programs of ours that run."""
        return sorted({own.prog for own in self.model.own.values()} & {*self.model.hooks.values()}, key=lambda p: p.id)

    def _compare(self) -> None:
        check_hooks(self.model, self.eyes.observe(NAMES), self.known)
        check_maps(self.model, self.known)
        check_pins(self.model, alive=self.alive)
        if self.alive:
            check_status(self.model, self.core)

    def _outlive_fault(self) -> None:
        if self.alive:
            self.core.rest()
        self.core.writes.fail(0, 0)
        if self.alive:
            self.wait(LONGEST)
            self.counts["faults"] += 1
            take_order(self.model, self.eyes.observe(NAMES))

    def wait_until_off(self, programs: Mapping[Spot, int]) -> None:
        """Return when the kernel has taken off what hung on links that are gone."""
        deadline = time.monotonic() + PATIENCE
        while any(self._is_on(spot, number) for spot, number in programs.items()):
            assert time.monotonic() < deadline, f"{programs} are there without a link"
            time.sleep(0.002)

    def _is_on(self, spot: Spot, number: int) -> bool:
        seen = self.eyes.observe(NAMES)
        return seen.programs.get(spot) == number or number in seen.chains.get((spot.ifindex, spot.hook), ())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.ahead += seconds
        if self.alive:
            if self._is_trial_over():
                asking.roll_back(self.model)
            self.core.look()

    def _is_trial_over(self) -> bool:
        """Return whether a configuration on trial was not confirmed in time; then it has been rolled back."""
        self.model.now = self.clock.steady()
        if self.model.trial is None or self.model.now < self.model.trial.deadline:
            return False
        self.core.until_rolled_back()
        self.counts["rolled back"] += 1
        return True

    def still_failed(self) -> set[str]:
        """Return what failed before and still does: the model cannot know when it is tried again."""
        before = {name for name, state in self.model.states.items() if state is State.FAILED}
        now = self.core.call(self.core.service.status()).attachments
        return {one.name for one in now if one.state is State.FAILED and one.name in before}


def _mode(mode: str) -> dict[str, object]:
    return {"modes": ["native", "skb"]} if mode == LADDER else {"mode": mode} if mode else {}


def _words(number: int) -> bytes:
    return json.dumps([{"key": 0, "value": number}]).encode()

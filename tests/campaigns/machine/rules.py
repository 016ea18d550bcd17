"""The steps: what operators, others and fate may do."""

import errno
from collections.abc import Callable
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.campaigns.machine import crash, fate, host, orders
from tests.campaigns.machine.bench import NAMES, WORDS, Bench, Fault
from tests.campaigns.machine.host import Spot
from tests.campaigns.machine.settling import GRACE
from tests.campaigns.machine.things import BAD, INIT, LADDER, MISSING, Entry
from xdploaderd.hooks import Hook, OnForeign

ENTRIES = ("one", "two", "three")
GLOBS = ("g*", "g[01]")
SPOTS = ((Hook.XDP, 0), *((hook, slot) for hook in (Hook.TC_INGRESS, Hook.TC_EGRESS) for slot in (1, 2)))
WAITS = (2.0, 61.0, 400.0)  # seconds: past a first retry, past the time of grace, past any retry
KILLED = ("reload", "attach", "detach", "attach object", "sweep")
EVENTS = ("make anew", "delete", "rename", "take off", "put other", "delete clsact", "wait")

picks = st.integers(0, len(NAMES) - 1)  # of what there is at the time
names = st.sampled_from(NAMES)
spots = st.sampled_from(SPOTS)
files = st.sampled_from(("a.o", "b.o"))
faults = st.one_of(
    st.none(), st.none(), st.none(), st.tuples(st.integers(1, 8), st.sampled_from((errno.ENOMEM, errno.EPERM)))
)
ORDERS = {  # which never contradict each other
    "one": ("", "first"),
    "two": ("", "last"),
    "three": ("", "after:one", "before:two"),
    "four": ("", "after:three", "after:one"),
    "five": ("", "before:two", "before:three"),
}


def entry(name: str, *where: str) -> st.SearchStrategy[Entry]:
    """Return any entry of that name."""
    return st.builds(
        Entry,
        name=st.just(name),
        where=st.sampled_from(where),
        spot=spots,
        file=files,
        on_foreign=st.sampled_from(OnForeign),
        force=st.booleans(),
        link=st.booleans(),
        gap=st.booleans(),
        order=st.sampled_from(ORDERS[name]),
        mode=st.sampled_from(("", LADDER, LADDER, "native", "skb")),
        shares=st.booleans(),
        keep=st.booleans(),
        init=st.integers(0, 3).map(lambda number: number == 0),
    )


lost = st.integers(0, 9).map(lambda number: number == 0)
entries = st.sampled_from(ENTRIES).flatmap(lambda name: entry(name, *NAMES, *GLOBS))
runtime = st.sampled_from(("four", "five")).flatmap(lambda name: entry(name, *NAMES))
attachments = st.one_of(
    st.sampled_from((*ENTRIES, "four", "five")),
    st.builds(lambda entry, name: f"{entry}@{name}", st.sampled_from(ENTRIES), names),
)


def alive(machine: "Machine") -> bool:
    return machine.bench.alive


def untried(machine: "Machine") -> bool:
    return machine.bench.model.trial is None


def gentle(machine: "Machine") -> bool:
    """Whether no entry takes the place of a program of others, which a roll-back would put back."""
    model = machine.bench.model
    entries = [*model.disk.values(), *model.force.values(), *model.runtime.values()]
    return not any(entry.force or entry.on_foreign is OnForeign.RESTORE for entry in entries)


def unpinnable(machine: "Machine") -> list[str]:
    """Return what may lose its pins: a shared program that no entry is looked for would be nobody's on some hooks."""
    model = machine.bench.model
    looked_for = model.entries if machine.bench.alive else ()
    return sorted(n for n in model.own if n.partition("@")[0] in looked_for or not model.sharers(n))


def some(machine: "Machine") -> bool:
    return bool(machine.bench.model.interfaces)


class Machine(RuleBasedStateMachine):
    """One sequence; a subclass has the bench."""

    bench: Bench

    @initialize(present=st.sets(names, min_size=1), first=st.lists(entries, max_size=3))
    def begin(self, present: set[str], first: list[Entry]) -> None:
        self.bench.begin()
        for name in sorted(present):
            fate.add(self.bench, name)
        for entry in first:
            orders.write_entry(self.bench, entry)
        self.bench.step(self.bench.start)

    def teardown(self) -> None:
        self.bench.finish()

    def _step(self, change: Callable[[], None], *, lost: bool = False, fault: Fault | None = None) -> None:
        self.bench.step(change, lost=lost, fault=fault)

    def _one(self, pick: int) -> str:
        there = sorted(self.bench.model.interfaces)
        return there[pick % len(there)]

    # Interfaces

    @rule(name=names, lost=lost)
    def add_or_delete(self, name: str, lost: bool) -> None:
        there = name in self.bench.model.interfaces
        self._step(lambda: fate.delete(self.bench, name) if there else fate.add(self.bench, name), lost=lost)

    @precondition(some)
    @rule(pick=picks, lost=lost, fault=faults)
    def make_anew(self, pick: int, lost: bool, fault: Fault | None) -> None:
        name = self._one(pick)
        self._step(lambda: fate.make_anew(self.bench, name), lost=lost, fault=fault if untried(self) else None)

    @precondition(lambda self: some(self) and len(self.bench.model.interfaces) < len(NAMES))
    @rule(pick=picks, other=picks, lost=lost)
    def rename(self, pick: int, other: int, lost: bool) -> None:
        free = [name for name in NAMES if name not in self.bench.model.interfaces]
        self._step(lambda: fate.rename(self.bench, self._one(pick), free[other % len(free)]), lost=lost)

    @precondition(some)
    @rule(pick=picks, words=st.sampled_from(("up", "down", "mtu 1400", "mtu 1500")))
    def set_link(self, pick: int, words: str) -> None:
        name = self._one(pick)
        self._step(lambda: fate.set_link(self.bench, name, words))

    @precondition(some)
    @rule(pick=picks, mtu=st.sampled_from((host.MTU, host.LARGE_MTU, host.LARGE_MTU)))
    def set_peer_mtu(self, pick: int, mtu: str) -> None:
        name = self._one(pick)
        self._step(lambda: fate.set_peer_mtu(self.bench, name, mtu))

    # Others

    @precondition(some)
    @rule(pick=picks, spot=spots, lost=lost)
    def take_off(self, pick: int, spot: tuple[Hook, int], lost: bool) -> None:
        name = self._one(pick)
        at = Spot(self.bench.model.interfaces[name], *spot)
        self._step(lambda: fate.take_off(self.bench, at, name), lost=lost)

    @precondition(some)
    @rule(pick=picks, spot=spots, lost=lost)
    def put_other(self, pick: int, spot: tuple[Hook, int], lost: bool) -> None:
        name = self._one(pick)
        at = Spot(self.bench.model.interfaces[name], *spot)
        self._step(lambda: fate.put_other(self.bench, at, name), lost=lost)

    @precondition(some)
    @rule(pick=picks, lost=lost)
    def delete_clsact(self, pick: int, lost: bool) -> None:
        name = self._one(pick)
        self._step(lambda: fate.delete_clsact(self.bench, name), lost=lost)

    @precondition(lambda self: bool(unpinnable(self)))
    @rule(pick=st.integers(0, 7))
    def unpin(self, pick: int) -> None:
        pinned = unpinnable(self)
        self._step(lambda: fate.unpin(self.bench, pinned[pick % len(pinned)]))

    @precondition(lambda self: bool(self.bench.model.linked()))
    @rule(pick=st.integers(0, 7))
    def detach_link(self, pick: int) -> None:
        linked = self.bench.model.linked()
        self._step(lambda: fate.detach_link(self.bench, linked[pick % len(linked)]))

    # Operators

    @precondition(untried)
    @rule(entry=entries)
    def write_entry(self, entry: Entry) -> None:
        self._step(lambda: orders.write_entry(self.bench, entry))

    @precondition(untried)
    @rule(name=st.sampled_from(ENTRIES))
    def remove_entry(self, name: str) -> None:
        self._step(lambda: orders.remove_entry(self.bench, name))

    @precondition(untried)
    @rule(file=files, content=st.sampled_from(("v1", "v2", "v1", "v2", BAD, MISSING)))
    def write_file(self, file: str, content: str) -> None:
        self._step(lambda: fate.write_file(self.bench, file, content))

    @precondition(untried)
    @rule(content=st.sampled_from((*WORDS, *WORDS, BAD, MISSING)))
    def write_init(self, content: str) -> None:
        self._step(lambda: fate.write_file(self.bench, INIT, content))

    @precondition(lambda self: bool(self.bench.running()))
    @rule(pick=st.integers(0, 7), value=st.integers(100, 10000))
    def write_map(self, pick: int, value: int) -> None:
        progs = self.bench.running()
        self._step(lambda: fate.write_map(self.bench, progs[pick % len(progs)], value))

    @precondition(alive)
    @precondition(untried)
    @rule(fault=faults)
    def reload(self, fault: Fault | None) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.RELOAD), fault=fault)

    @precondition(alive)
    @precondition(untried)
    @rule(fault=faults)
    def reload_partial(self, fault: Fault | None) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.RELOAD_PARTIAL), fault=fault)

    @precondition(alive)
    @precondition(untried)
    @rule(name=attachments, fault=faults)
    def attach(self, name: str, fault: Fault | None) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.attach(name)), fault=fault)

    @precondition(alive)
    @precondition(untried)
    @rule(entry=runtime, fault=faults)
    def attach_object(self, entry: Entry, fault: Fault | None) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.attach_object(self.bench, entry)), fault=fault)

    @precondition(alive)
    @precondition(untried)
    @rule(name=attachments, fault=faults)
    def detach(self, name: str, fault: Fault | None) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.detach(name)), fault=fault)

    @precondition(alive)
    @precondition(untried)
    @rule()
    def sweep(self) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.SWEEP))

    @precondition(alive)
    @precondition(untried)
    @precondition(gentle)
    @rule()
    def apply_on_trial(self) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.APPLY_ON_TRIAL))

    @precondition(alive)
    @rule()
    def confirm(self) -> None:
        self._step(lambda: orders.carry_out(self.bench, orders.CONFIRM_IT))

    # Fate

    @rule(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: float) -> None:
        self._step(lambda: self.bench.wait(seconds))

    @precondition(alive)
    @rule()
    def kill(self) -> None:
        self._step(self.bench.kill)

    @precondition(alive)
    @precondition(untried)
    @rule(kind=st.sampled_from(KILLED), name=attachments, entry=runtime, calls=st.integers(0, 150))
    def kill_within(self, kind: str, name: str, entry: Entry, calls: int) -> None:
        order = {
            "reload": orders.RELOAD,
            "attach": orders.attach(name),
            "detach": orders.detach(name),
            "attach object": orders.attach_object(self.bench, entry),
            "sweep": orders.SWEEP,
        }[kind]
        self._step(lambda: crash.kill_within(self.bench, order, calls))

    @precondition(lambda self: alive(self) and untried(self) and gentle(self))
    @rule(calls=st.integers(0, 200))
    def kill_within_apply(self, calls: int) -> None:
        self._step(lambda: crash.kill_within(self.bench, orders.APPLY_ON_TRIAL, calls))

    @precondition(lambda self: alive(self) and not untried(self))
    @rule(calls=st.integers(0, 40))
    def kill_within_confirm(self, calls: int) -> None:
        self._step(lambda: crash.kill_within(self.bench, orders.CONFIRM_IT, calls))

    @precondition(lambda self: alive(self) and not untried(self))
    @rule(calls=st.integers(0, 150))
    def kill_in_roll_back(self, calls: int) -> None:
        self._step(lambda: crash.kill_in_roll_back(self.bench, calls))

    @precondition(lambda self: alive(self) and untried(self) and some(self))
    @rule(kind=st.sampled_from(EVENTS), pick=picks, other=picks, spot=spots, calls=st.integers(0, 100))
    def kill_in_event(self, kind: str, pick: int, other: int, spot: tuple[Hook, int], calls: int) -> None:
        name = self._one(pick)
        change = partial(self._event, kind, name, other, Spot(self.bench.model.interfaces[name], *spot))
        self._step(lambda: crash.kill_in_pass(self.bench, change, calls))

    def _event(self, kind: str, name: str, other: int, spot: Spot) -> None:
        free = [each for each in NAMES if each not in self.bench.model.interfaces]
        match kind:
            case "rename" if free:
                fate.rename(self.bench, name, free[other % len(free)])
            case "delete":
                fate.delete(self.bench, name)
            case "take off":
                fate.take_off(self.bench, spot, name)
            case "put other":
                fate.put_other(self.bench, spot, name)
            case "delete clsact":
                fate.delete_clsact(self.bench, name)
            case "wait":
                self.bench.clock.ahead += GRACE + 1
            case _:
                fate.make_anew(self.bench, name)

    @precondition(lambda self: not self.bench.alive)
    @precondition(untried)
    @rule(file=st.sampled_from(("held", "records", "runtime")), harm=st.sampled_from(("gone", "changed", "cut")))
    def lose_state(self, file: str, harm: str) -> None:
        self._step(lambda: fate.lose_state(self.bench, file, harm))

    @precondition(lambda self: not self.bench.alive)
    @rule()
    def start(self) -> None:
        self._step(self.bench.start)

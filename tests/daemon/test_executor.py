"""The order of a change, and what is undone when a step fails."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, cast

import pytest

from tests.daemon.fake_world import FakeWorld, entry, prog, want
from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.execute.executor import Executor
from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms, Staged
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Repair, Replace
from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.world import Observed, Occupant, Owned, Place, Record
from xdploaderd.errors import AttachError, VerifierError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.kernel.syscall import Fd
from xdploaderd.uapi.bpf import Ifindex, ProgId

WORLD = FakeWorld("eth0", "eth1")
HERE, THERE = WORLD.place("eth0"), WORLD.place("eth1")


class FakeFd:
    """A descriptor that is only a name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self._log = name, log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.append(f"close {self.name}")


class Parts:
    """Placer, OwnPrograms and Whereabouts that write down what is asked of them; `fail` names the steps that raise."""

    def __init__(self, *fail: str, error: Exception | None = None) -> None:
        self.log: list[str] = []
        self.fail = fail
        self.error = error or AttachError("refused")
        self.others_are_faster = False

    def step(self, text: str) -> None:
        """Write a step down, or fail it."""
        self.log.append(text)
        if text in self.fail:
            raise self.error

    @property
    def whereabouts(self) -> "Parts":
        return self

    async def put(self, place: Place, fd: FakeFd, *, label: str) -> Put:
        assert label == "fw.o:[main]"
        self.step(f"put {fd.name} on {place.ifname} {place.mode}")
        return Put(made_clsact=place.hook is not Hook.XDP and not self.others_are_faster)

    async def swap(self, current: Occupant, _wanted: Place, fd: FakeFd, *, expected: FakeFd | None, label: str) -> None:
        self.step(f"swap {fd.name} for {expected.name if expected else 'anything'} on {current.place.ifname}")

    async def take_off(self, place: Place, expected: FakeFd, *, remove_clsact: bool = False) -> None:
        self.step(f"take {expected.name} off {place.ifname}")

    def stage(self, config: AttachmentConfig, place: Place, sha1: str) -> Staged:
        self.step(f"stage {config.name}")
        record = Record(attachment=config.name, object="o", sha1="b" * 40, program="main", hook=config.hook)
        return Staged(prog(8), record, cast("Fd", FakeFd("new", self.log)), self._loaded())

    @contextmanager
    def _loaded(self) -> Iterator[None]:
        try:
            yield
        except AttachError:
            self.log.append("undo load")
            raise
        self.step("commit load")

    def open(self, name: str) -> FakeFd:
        return FakeFd(f"pin of {name}", self.log)

    def open_foreign(self, prog_id: ProgId) -> FakeFd:
        return FakeFd(f"program {prog_id}", self.log)

    def info(self, _fd: FakeFd) -> object:
        return prog(7)

    def moved(self, name: str, place: Place, strays: Sequence[Place] = ()) -> object:
        self.step("remember " + " and ".join(f"{name} on {each.ifname}" for each in (place, *strays)))
        return prog(7)

    def gives_way(self, name: str, place: Place) -> str:
        self.step(f"{name} gives way on {place.ifname}")
        return name

    def goes_to(self, name: str, place: Place) -> str | None:
        if place.hook is Hook.XDP:
            return None
        self.step(f"{name} goes to {place.ifname}")
        return name

    def leaves(self, name: str, places: Sequence[Place]) -> str:
        self.step(f"{name} leaves {' and '.join(place.ifname for place in places)}")
        return name

    def stays(self, name: str, off: Sequence[Place]) -> None:
        self.step(f"{name} stays" if not off else f"{name} is off {off[0].ifname}")

    def took(self, _name: str, _place: Place, put: Put) -> str:
        return put.refused

    def promote(self, name: str) -> None:
        self.step(f"promote {name}")

    def discard(self, name: str) -> None:
        self.step(f"discard {name}")

    def forget(self, name: str) -> None:
        self.step(f"forget {name}")

    def makes_clsact(self, ifindex: Ifindex) -> None:
        self.step(f"clsact on {ifindex} is ours")

    def has_no_clsact(self, ifindex: Ifindex) -> None:
        self.step(f"clsact on {ifindex} is not ours")

    def made_clsact(self, _ifindex: Ifindex) -> bool:
        return False

    def clsacts(self) -> set[Ifindex]:
        return {Ifindex(1), Ifindex(2)}

    async def needs_clsact(self, place: Place) -> bool:
        return place.hook is not Hook.XDP

    async def drop_clsact(self, ifindex: Ifindex) -> None:
        self.step(f"drop clsact on {ifindex}")


class Inline(Pool):
    """A worker that works at once."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a pool hands on whatever its work raises
            done.set_exception(error)
        return done


def carry_out(parts: Parts, action: Change) -> Outcome:
    executor = Executor(cast("Placer", parts), cast("OwnPrograms", parts), cast("ThreadPoolExecutor", Inline()))
    return asyncio.run(executor.execute(action))


def attach(*, from_pin: bool = False, **fields: Any) -> Attach:
    return Attach(name="edge", wanted=want(), place=HERE, from_pin=from_pin, **fields)


def replacing(**fields: Any) -> Replace:
    current = Occupant(HERE, ProgId(7))
    values = {"owner": "edge", "from_pin": False, **fields}
    return Replace(name="edge", wanted=want(), place=HERE, current=current, **values)


def test_attach_from_the_file_pins_before_and_promotes_after() -> None:
    parts = Parts()
    assert carry_out(parts, attach()).sha1 == "b" * 40
    assert parts.log == ["stage edge", "put new on eth0 native", "commit load", "promote edge"]


def test_attach_from_the_pin_loads_nothing() -> None:
    parts = Parts()
    assert carry_out(parts, attach(from_pin=True)).sha1 == ""
    assert parts.log == ["put pin of edge on eth0 native", "close pin of edge", "remember edge on eth0"]


def test_pinned_filter_is_noted_before_it_is_attached_and_no_more_when_that_fails() -> None:
    place = WORLD.place("eth0", Hook.TC_INGRESS)
    parts = Parts(f"put pin of edge on eth0 {place.mode}")
    with pytest.raises(AttachError):
        carry_out(parts, replace(attach(from_pin=True), place=place))
    assert (parts.log[0], parts.log[-2:]) == ("edge goes to eth0", ["edge stays", "close pin of edge"])


@pytest.mark.parametrize("others_are_faster", [False, True])
def test_clsact_that_is_made_is_remembered_first(*, others_are_faster: bool) -> None:
    parts = Parts()
    parts.others_are_faster = others_are_faster
    config = entry(hook=Hook.TC_INGRESS)
    carry_out(parts, replace(attach(), wanted=want(config), place=WORLD.place("eth0", Hook.TC_INGRESS)))
    there = parts.log.index("clsact on 1 is ours")
    assert parts.log[there + 1].startswith("put new on eth0")
    assert ("clsact on 1 is not ours" in parts.log) is others_are_faster


def tidied(parts: Parts, *occupants: Occupant) -> list[str]:
    executor = Executor(cast("Placer", parts), cast("OwnPrograms", parts), cast("ThreadPoolExecutor", Inline()))
    observed = Observed(occupants=occupants, owned={"edge": Owned(name="edge", prog=prog(7))})
    asyncio.run(executor.tidy(observed))
    return parts.log


def test_clsact_of_ours_goes_where_no_filter_of_ours_is() -> None:
    ours = Occupant(WORLD.place("eth0", Hook.TC_INGRESS), ProgId(7))
    assert tidied(Parts(), ours) == ["drop clsact on 2", "clsact on 2 is not ours"]
    assert tidied(Parts(), replace(ours, prog_id=ProgId(9)))[:1] == ["drop clsact on 1"]
    assert "drop clsact on 1" in tidied(Parts(), Occupant(HERE, ProgId(7)))


def test_clsact_that_cannot_be_removed_is_left_for_the_next_look() -> None:
    assert tidied(Parts("drop clsact on 1")) == ["drop clsact on 1", "drop clsact on 2", "clsact on 2 is not ours"]


def test_refused_load_touches_no_hook() -> None:
    parts = Parts("stage edge", error=VerifierError("refused", errno=22, log=()))
    with pytest.raises(VerifierError):
        carry_out(parts, replacing())
    assert parts.log == ["stage edge"]


def test_refused_attach_undoes_the_load_and_leaves_the_pin_in_force() -> None:
    parts = Parts("swap new for pin of edge on eth0")
    with pytest.raises(AttachError):
        carry_out(parts, replacing())
    assert "undo load" in parts.log
    assert "promote edge" not in parts.log


def test_strays_are_taken_off_by_the_old_pin_after_the_new_program_runs() -> None:
    parts = Parts()
    carry_out(parts, attach(strays=(THERE,)))
    assert parts.log[1:] == [
        "put new on eth0 native",
        "commit load",
        "take pin of edge off eth1",
        "close pin of edge",
        "promote edge",
    ]


def test_strays_of_the_pinned_program_are_remembered_until_they_are_taken_off() -> None:
    parts = Parts()
    carry_out(parts, attach(from_pin=True, strays=(THERE,)))
    assert parts.log[2:] == [
        "remember edge on eth0 and edge on eth1",
        "take pin of edge off eth1",
        "close pin of edge",
        "remember edge on eth0",
    ]


def test_claimed_place_keeps_the_old_pin_until_it_is_taken_over() -> None:
    parts = Parts()
    carry_out(parts, attach(promote=False))
    assert parts.log == ["stage edge", "put new on eth0 native", "commit load"]


def test_program_of_another_entry_is_expected_by_that_entry_s_pin() -> None:
    parts = Parts()
    carry_out(parts, replacing(owner="old"))
    assert "swap new for pin of old on eth0" in parts.log


def test_foreign_program_is_replaced_whatever_it_is() -> None:
    parts = Parts()
    carry_out(parts, replacing(owner=None))
    assert "swap new for anything on eth0" in parts.log


SKB = replace(HERE, mode=XdpMode.SKB)
GAP = ["stage edge", "edge gives way on eth0", "take pin of edge off eth0", "put new on eth0 skb"]


def test_change_of_mode_remembers_first_that_the_program_goes_by_our_own_doing() -> None:
    parts = Parts()
    carry_out(parts, replace(replacing(gap=True), place=SKB))
    assert parts.log == [*GAP, "close pin of edge", "commit load", "promote edge"]


def test_change_of_mode_that_fails_puts_the_old_program_back() -> None:
    parts = Parts("put new on eth0 skb")
    with pytest.raises(AttachError):
        carry_out(parts, replace(replacing(gap=True), place=SKB))
    assert parts.log == [*GAP, "put pin of edge on eth0 native", "close pin of edge", "edge stays", "undo load"]


def test_old_program_that_does_not_come_back_is_not_said_to_be_taken_off_by_others() -> None:
    parts = Parts("put new on eth0 skb", "put pin of edge on eth0 native")
    with pytest.raises(AttachError):
        carry_out(parts, replace(replacing(gap=True), place=SKB))
    assert parts.log == [*GAP, "put pin of edge on eth0 native", "close pin of edge", "edge is off eth0", "undo load"]


def test_detach_comes_before_the_pins_go() -> None:
    parts = Parts()
    carry_out(parts, Detach(name="edge", places=(HERE,), forget=True, hook=Hook.XDP, interface="eth0"))
    assert parts.log == ["edge leaves eth0", "take pin of edge off eth0", "close pin of edge", "forget edge"]


@pytest.mark.parametrize(("refused", "then"), [("eth0", "edge stays"), ("eth1", "edge is off eth0")])
def test_refused_detach_keeps_the_pins_and_remembers_what_stays(refused: str, then: str) -> None:
    parts = Parts(f"take pin of edge off {refused}")
    with pytest.raises(AttachError):
        carry_out(parts, Detach(name="edge", places=(HERE, THERE), forget=True, hook=Hook.XDP, interface="eth0"))
    assert "forget edge" not in parts.log
    assert (parts.log[0], parts.log[-1]) == ("edge leaves eth0 and eth1", then)


def test_repair_promotes_what_runs_and_discards_what_does_not() -> None:
    parts = Parts()
    carry_out(parts, Repair(name="edge", promote=True, strays=(THERE,), hook=Hook.XDP, interface="eth0"))
    carry_out(parts, Repair(name="edge", promote=False, hook=Hook.XDP, interface="eth0"))
    assert parts.log == ["take pin of edge off eth1", "close pin of edge", "promote edge", "discard edge"]


def test_repair_of_a_note_changes_neither_hooks_nor_pins() -> None:
    parts = Parts()
    carry_out(parts, Repair(name="edge", promote=False, runs_at=HERE, hook=Hook.XDP, interface="eth0"))
    assert parts.log == ["remember edge on eth0"]

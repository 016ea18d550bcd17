"""A plan as one change: the order of its steps, and what is undone when one fails (F19)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.daemon.fake_world import entry, prog, want
from tests.daemon.test_executor import HERE, SKB, THERE, Inline, Parts
from xdploaderd.daemon.apply.transaction import Transaction
from xdploaderd.daemon.execute.executor import Executor
from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Replace
from xdploaderd.daemon.plan.world import Occupant
from xdploaderd.errors import AttachError, VerifierError
from xdploaderd.hooks import Hook
from xdploaderd.uapi.bpf import ProgId


class MoreParts(Parts):
    """What a transaction asks besides."""

    def prepare(self, config: Any, _sha1: str) -> None:
        self.step(f"prepare {config.name}")

    def leaves(self, name: str, _places: object) -> str:
        self.step(f"{name} leaves")
        return f"that {name} is there"

    def stays(self, before: str, _left: object) -> None:
        self.step(f"remember {before}")

    def label_of(self, _name: str) -> str:
        return "fw.o:[main]"


def attach(name: str = "new", **fields: Any) -> Attach:
    return Attach(name=name, wanted=want(entry(name, "eth1")), place=THERE, from_pin=False, **fields)


def replacing(name: str = "edge") -> Replace:
    current = Occupant(HERE, ProgId(7), name="fw.o:[main]")
    return Replace(name=name, wanted=want(entry(name)), place=HERE, current=current, owner=name, from_pin=False)


def detach(name: str = "old") -> Detach:
    return Detach(name=name, places=(THERE,), forget=True, hook=Hook.XDP, interface="eth1")


def carry_out(parts: MoreParts, *actions: Change) -> list[str]:
    """Return the steps but the closing of descriptors, which is told in the end anyway."""
    asyncio.run(transaction_of(parts).carry_out(actions, begin=lambda: parts.step("begin")))
    return steps(parts)


def transaction_of(parts: MoreParts) -> Transaction:
    placer, programs, pool = cast("Placer", parts), cast("OwnPrograms", parts), cast("ThreadPoolExecutor", Inline())
    return Transaction(Executor(placer, programs, pool), placer, programs, pool)


def steps(parts: MoreParts) -> list[str]:
    return [step for step in parts.log if not step.startswith("close")]


PREPARED = ["prepare edge", "prepare new", "begin", "stage edge", "stage new"]
DONE = [
    *PREPARED,
    "swap new for pin of edge on eth0",
    "put new on eth1 native",
    "old leaves",
    "take pin of old off eth1",
]


def test_what_it_comes_to_names_the_program_that_was_detached() -> None:
    ((_, outcome),) = asyncio.run(transaction_of(MoreParts()).carry_out([detach()]))
    assert outcome.prog == prog(7)


def test_everything_is_loaded_before_the_first_hook_changes_and_pinned_anew_at_the_end() -> None:
    done = carry_out(MoreParts(), replacing(), attach(), detach())
    assert done == [*DONE, "commit load", "commit load", "promote edge", "promote new", "forget old"]


@pytest.mark.parametrize("fail", PREPARED)
def test_f19_failure_before_the_first_attach_touches_no_hook(fail: str) -> None:
    parts = MoreParts(fail, error=VerifierError("refused", errno=22, log=()))
    with pytest.raises(VerifierError):
        carry_out(parts, replacing(), attach(), detach())
    assert not [step for step in steps(parts) if step.startswith(("put", "swap", "take", "promote", "forget"))]
    assert [s for s in steps(parts) if s.startswith("discard")] == [
        f"discard {name}" for name in ("new", "edge") if f"stage {name}" in parts.log and fail != f"stage {name}"
    ]


def test_f19_failure_in_the_attach_phase_is_undone_in_reverse() -> None:
    parts = MoreParts("take pin of old off eth1")
    with pytest.raises(AttachError):
        carry_out(parts, replacing(), attach(), detach())
    assert steps(parts) == [
        *DONE,
        "remember that old is there",
        "take new off eth1",
        "swap pin of edge for new on eth0",
        "discard new",
        "discard edge",
        "undo load",
        "undo load",
    ]


def test_gap_is_remembered_as_ours_until_the_undoing_has_ended() -> None:
    parts = MoreParts("take pin of old off eth1")
    with pytest.raises(AttachError):
        carry_out(parts, replace(replacing(), gap=True, place=SKB), detach())
    undone = ["take new off eth0", "put pin of edge on eth0 native", "remember edge"]
    assert [step for step in steps(parts) if "edge" in step or "new" in step][2:] == [
        "edge gives way on eth0", "take pin of edge off eth0", "put new on eth0 skb", *undone, "discard edge",
    ]  # fmt: skip


def test_detached_program_is_put_back_when_a_later_step_fails() -> None:
    class Failing(MoreParts):
        def leaves(self, name: str, places: object) -> str:
            before = super().leaves(name, places)
            if name == "other":
                raise AttachError("refused")
            return before

    parts = Failing()
    with pytest.raises(AttachError):
        carry_out(parts, detach(), detach("other"))
    assert steps(parts)[-3:] == ["other leaves", "put pin of old on eth1 native", "remember old on eth1"]


def test_step_that_cannot_be_undone_is_told_and_the_rest_is_undone(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MoreParts):
        def step(self, text: str) -> None:
            super().step(text)
            if text in ("take pin of old off eth1", "take new off eth1"):
                raise AttachError("refused")

    parts = Failing()
    with pytest.raises(AttachError):
        carry_out(parts, replacing(), attach(), detach())
    assert "swap pin of edge for new on eth0" in parts.log
    assert "could not be undone" in caplog.text


def test_pins_that_cannot_be_renamed_undo_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = carry_out(MoreParts("promote edge"), replacing(), attach())
    assert done[-2:] == ["promote edge", "promote new"]
    assert "not in order yet" in caplog.text


def test_map_pin_that_does_not_go_over_undoes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = carry_out(MoreParts("commit load"), replacing(), attach())
    assert done[-2:] == ["promote edge", "promote new"]
    assert "did not go over" in caplog.text

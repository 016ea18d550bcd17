"""Which programs without a pin are known as ours: the recorded ones, where they were attached, and no others."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, cast

import pytest

from tests.daemon.fake_world import FakeWorld, entry, prog
from xdploaderd.daemon.pins.own_pins import Contents, OwnPins
from xdploaderd.daemon.pins.unpinned import find_unpinned, of_program, pinned_or_running
from xdploaderd.daemon.plan.world import Occupant, Owned, Record
from xdploaderd.errors import KernelError
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import Ifindex, ProgId

RUNS = replace(prog(7), load_time_ns=1234)
NOTHING = Owned(name="edge", prog=None)


class FakeBpf:
    """The program of id 7, or the error that opening it gives."""

    def __init__(self, found: ProgInfo | int) -> None:
        self._found = found

    @contextmanager
    def prog_by_id(self, _prog_id: ProgId) -> Iterator[object]:
        if isinstance(self._found, int):
            raise KernelError("cannot open", operation="BPF_PROG_GET_FD_BY_ID", errno=self._found)
        yield self._found

    def prog_info(self, found: ProgInfo) -> ProgInfo:
        return found


class FakePins:
    """Pins of which only program arrays are left."""

    def __init__(self, *arrays: str) -> None:
        self._arrays = arrays

    def look(self, _name: str, *, running: ProgId) -> Contents:
        assert running == RUNS.id
        return Contents(prog=None, staged=None, links=(), leftovers=False, paths=())

    def directory(self, name: str) -> PurePosixPath:
        return PurePosixPath("/pins", name)

    def array_paths(self, _name: str, _prog_id: ProgId) -> tuple[PurePosixPath, ...]:
        return tuple(PurePosixPath("/pins/edge/arrays_7", array) for array in self._arrays)


def recorded(**changes: Any) -> Record:
    world = FakeWorld("eth0")
    found = world.add_owned(entry(), 7).record
    assert found is not None
    return replace(of_program(replace(found, ifindex=1), RUNS, ["jmp.tc"]), **changes)


def found(record: Record, kernel: ProgInfo | int = RUNS, *owned: Owned, arrays: tuple[str, ...] = ()) -> list[Owned]:
    records = [((record.attachment, RUNS.id), record)]
    pins, bpf = cast(OwnPins, FakePins(*arrays)), cast(Bpf, FakeBpf(kernel))
    return list(find_unpinned((NOTHING, *owned), records, pins, bpf))


def test_recorded_program_that_is_alive_is_a_candidate() -> None:
    (one,) = found(recorded(), arrays=("jmp_tc",))
    assert (one.prog, one.pinned, one.sure, one.emptied, one.pin) == (RUNS, False, True, False, "/pins/edge/prog")


def test_program_array_without_its_pin_is_empty() -> None:
    (one,) = found(recorded(), arrays=("other",))
    assert one.emptied


@pytest.mark.parametrize(
    "other", [{"tag": "1" * 16}, {"name": "another"}, {"load_time_ns": 1235}], ids=lambda other: next(iter(other))
)
def test_same_id_with_another_tag_name_or_time_is_not_ours(other: dict[str, Any]) -> None:
    assert not found(recorded(), replace(RUNS, **other))


def test_program_that_is_gone_is_not_ours() -> None:
    assert not found(recorded(), errno.ENOENT)


def test_id_alone_tells_where_nobody_may_look() -> None:
    (one,) = found(recorded(), errno.EPERM)
    assert one.prog is not None
    assert (one.prog.id, one.prog.tag, one.sure) == (RUNS.id, RUNS.tag, False)


@pytest.mark.parametrize("changes", [{"ifindex": 0}, {"tag": ""}], ids=["taken off by us", "of an older daemon"])
def test_record_that_does_not_tell_enough_is_not_used(changes: dict[str, Any]) -> None:
    assert not found(recorded(**changes))


def test_program_that_another_name_has_pinned_for_the_place_is_that_one_s() -> None:
    renamed = Owned(name="old", prog=RUNS, record=recorded(attachment="old"))
    assert not found(recorded(), RUNS, renamed)
    shared = Owned(name="other", prog=RUNS, record=recorded(attachment="other", ifindex=2))
    assert found(recorded(), RUNS, shared)


def test_entry_with_a_pinned_program_has_no_other() -> None:
    assert not found(recorded(), RUNS, Owned(name="edge", prog=prog(8)))


@pytest.mark.parametrize(
    ("index", "number", "tag", "entries", "ours"),
    [
        (1, 7, "", {"edge"}, True),
        (1, 7, RUNS.tag, {"edge"}, True),
        (2, 7, "", {"edge"}, False),
        (1, 8, "", {"edge"}, False),
        (1, 7, "1" * 16, {"edge"}, False),
        (1, 7, "", {"other"}, False),
    ],
)
def test_candidate_is_ours_where_it_runs_for_an_entry(
    index: int, number: int, tag: str, entries: set[str], *, ours: bool
) -> None:
    place = replace(FakeWorld("eth0").place("eth0"), ifindex=Ifindex(index))
    candidates = (NOTHING, *found(recorded()))
    (one,) = pinned_or_running(candidates, [Occupant(place, ProgId(number), tag=tag)], entries, entries)
    assert (one.prog is not None) is ours


def test_program_on_record_by_two_names_has_the_one_that_is_wanted() -> None:
    place = FakeWorld("eth0").place("eth0")
    old, new = found(recorded(attachment="all@eth7")), found(recorded(attachment="all@eth0"))
    for candidates in ((*old, *new), (*new, *old)):
        (one,) = pinned_or_running(candidates, [Occupant(place, RUNS.id)], {"all"}, {"all@eth0"})
        assert one.name == "all@eth0"

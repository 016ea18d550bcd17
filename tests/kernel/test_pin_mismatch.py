"""Pinned maps that differ from a new object's: made anew or migrated, and the pin moves when the program runs."""

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.builders.prepared import READS_NULL, Pins, map_spec, prepared, prog
from tests.fakes.bpf import FailingDoor
from tests.support import sandbox
from xdploaderd.errors import LoaderError, PinMismatchError
from xdploaderd.hooks import OnMismatch
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus
from xdploaderd.kernel.syscall import Fd, bpf_syscall
from xdploaderd.load.maps import MapRules
from xdploaderd.load.object import load
from xdploaderd.load.pin_moves import drop_moves, finish_moves
from xdploaderd.obj.map_document import PER_CPU
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import BpfCmd, MapFlags, MapType

pytestmark = pytest.mark.kernel
MAPS = PurePosixPath("/sys/fs/bpf/maps")
PIN = MAPS / "stats"
MANY = 10_000
RECREATE, MIGRATE = MapRules(on_mismatch=OnMismatch.RECREATE), MapRules(on_mismatch=OnMismatch.MIGRATE)
TYPES = (
    MapType.HASH,
    MapType.ARRAY,
    MapType.LRU_HASH,
    MapType.PERCPU_HASH,
    MapType.PERCPU_ARRAY,
    MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE,
)


@pytest.fixture(autouse=True)
def _clean(_no_kernel_leak: None) -> Iterator[None]:
    yield
    sandbox.clear_pins()


def _spec(type_: MapType = MapType.HASH, **changes: Any) -> MapSpec:
    flags = MapFlags.NO_PREALLOC if type_ == MapType.LPM_TRIE else 0
    values = {"type": type_, "key_size": 8, "value_size": 8, "max_entries": 16, "flags": flags, "pinning": 1}
    if type_ in (MapType.ARRAY, MapType.PERCPU_ARRAY):
        values["key_size"] = 4
    return map_spec(**{**values, **changes})


def _pinned(spec: MapSpec) -> None:
    load(prepared([], [spec]), Bpf(), Pins()).close()


def _key(spec: MapSpec, number: int) -> bytes:
    if spec.type == MapType.LPM_TRIE:
        return (32).to_bytes(4, "little") + number.to_bytes(4, "big")
    return number.to_bytes(spec.key_size, "little")


def _value(spec: MapSpec, number: int, size: int) -> bytes:
    """Return a value of the old size, widened with zeros to `size`, as bpf(2) takes it."""
    if spec.type not in PER_CPU:
        return number.to_bytes(8, "little").ljust(size, b"\0")
    slot = -(-size // 8) * 8
    return b"".join((number + cpu).to_bytes(8, "little").ljust(slot, b"\0") for cpu in possible_cpus())


def _fill(spec: MapSpec, count: int) -> None:
    with Bpf().obj_get(PIN) as fd:
        for number in range(count):
            Bpf().map_update(fd, _key(spec, number), _value(spec, number + 1, 8))


def _id() -> int:
    with Bpf().obj_get(PIN) as fd:
        return Bpf().map_info(fd).id


def _read(fd: Fd, spec: MapSpec, number: int) -> bytes | None:
    return Bpf().map_lookup(fd, _key(spec, number), len(_value(spec, 0, spec.value_size)))


@pytest.mark.parametrize("type_", TYPES)
def test_migrated_map_has_the_entries_with_values_that_grew_by_zeros(type_: MapType) -> None:
    old, new = _spec(type_), _spec(type_, value_size=20, max_entries=32)
    _pinned(old)
    _fill(old, 10)
    before = _id()
    with load(prepared([prog(uses=["stats"])], [new]), Bpf(), Pins(), rules=MIGRATE) as loaded:
        found = loaded.maps["stats"]
        assert (_id(), found.pin, found.reused) == (before, PIN, False)
        assert sorted(os.listdir(MAPS)) == ["stats", "stats-next"]
        assert found.info.id in loaded.infos["xdp_pass"].map_ids
        loaded.commit()
        assert _id() == found.info.id
        assert os.listdir(MAPS) == ["stats"]
        for number in range(10):
            assert _read(found.fd, new, number) == _value(new, number + 1, 20)
        absent = _read(found.fd, new, 10)
        assert absent is None or not any(absent)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("batches", [True, False])
def test_ten_thousand_entries_are_migrated_with_and_without_batches(type_: MapType, *, batches: bool) -> None:
    def door(cmd: BpfCmd, attr: Any) -> int:
        if cmd in (BpfCmd.MAP_UPDATE_BATCH, BpfCmd.MAP_LOOKUP_BATCH) and not batches:
            raise OSError(errno.EINVAL, "no such command")
        return bpf_syscall(cmd, attr)

    room = MANY * (2 if type_ in (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH) else 1)
    old, new = _spec(type_, max_entries=room), _spec(type_, max_entries=room, value_size=16)
    _pinned(old)
    _fill(old, MANY)
    with load(prepared([], [new]), Bpf(door), Pins(), rules=MIGRATE) as loaded:
        fd = loaded.maps["stats"].fd
        assert all(_read(fd, new, n) == _value(new, n + 1, 16) for n in range(0, MANY, 97))
        assert _read(fd, new, MANY - 1) == _value(new, MANY, 16)


def test_what_is_written_and_removed_while_programs_are_loaded_is_migrated_too() -> None:
    old, new = _spec(), _spec(value_size=16)
    _pinned(old)
    _fill(old, 3)

    def door(cmd: BpfCmd, attr: Any) -> int:
        if cmd is BpfCmd.PROG_LOAD and attr.prog_name == b"xdp_pass":
            with Bpf().obj_get(PIN) as fd:
                Bpf().map_update(fd, _key(old, 0), _value(old, 77, 8))
                Bpf().map_update(fd, _key(old, 9), _value(old, 99, 8))
                Bpf().map_delete(fd, _key(old, 1))
        return bpf_syscall(cmd, attr)

    with load(prepared([prog(uses=["stats"])], [new]), Bpf(door), Pins(), rules=MIGRATE) as loaded:
        found = [_read(loaded.maps["stats"].fd, new, number) for number in (0, 1, 2, 9)]
    assert found == [_value(new, 77, 16), None, _value(new, 3, 16), _value(new, 99, 16)]


def test_recreated_map_is_empty_and_gets_its_first_entries() -> None:
    old = _spec()
    _pinned(old)
    _fill(old, 3)
    with load(prepared([], [_spec(key_size=4)]), Bpf(), Pins(), rules=RECREATE) as loaded:
        assert Bpf().map_next_key(loaded.maps["stats"].fd, None, 4) is None
    assert os.listdir(MAPS) == ["stats"]


@pytest.mark.parametrize(
    ("old", "changes", "said"),
    [
        (_spec(), {"type": MapType.LRU_HASH}, "its type is another"),
        (_spec(), {"key_size": 4}, "its keys have another size"),
        (_spec(), {"value_size": 4}, "its values have 8 bytes and would lose some"),
        (_spec(MapType.ARRAY), {"max_entries": 8}, "it has 16 elements and would lose some"),
        (_spec(MapType.ARRAY), {"value_size": 9, "freeze": True}, "own map is read-only"),
        (_spec(MapType.PROG_ARRAY, key_size=4, value_size=4), {"max_entries": 17}, "holds more than plain values"),
    ],
)  # fmt: skip
def test_map_that_would_lose_something_is_not_migrated(old: MapSpec, changes: dict[str, Any], said: str) -> None:
    _pinned(old)
    before = _id()
    with pytest.raises(PinMismatchError, match=said) as caught:
        load(prepared([], [replace(old, **changes)]), Bpf(), Pins(), rules=MIGRATE)
    assert caught.value.differences or changes.get("freeze")
    assert _id() == before
    assert os.listdir(MAPS) == ["stats"]


def test_smaller_hash_is_migrated_only_when_all_entries_fit() -> None:
    _pinned(_spec())
    _fill(_spec(), 5)
    with pytest.raises(PinMismatchError, match="it has 5 entries: max entries: wanted 4, found 16"):
        load(prepared([], [_spec(max_entries=4)]), Bpf(), Pins(), rules=MIGRATE)
    load(prepared([], [_spec(max_entries=5)]), Bpf(), Pins(), rules=MIGRATE).close()


@pytest.mark.parametrize("rules", [RECREATE, MIGRATE])
def test_refused_program_leaves_the_old_map_pinned_and_nothing_else(rules: MapRules) -> None:
    _pinned(_spec())
    _fill(_spec(), 3)
    before, pins, old = sandbox.object_ids(), sandbox.pin_tree(), _id()
    with pytest.raises(LoaderError):
        load(prepared([prog("bad", READS_NULL)], [_spec(value_size=16)]), Bpf(), Pins(), rules=rules)
    assert (_id(), sandbox.pin_tree()) == (old, pins)
    assert not any(sandbox.wait_until_freed(before).values())


def test_exception_before_commit_leaves_the_old_map_pinned() -> None:
    _pinned(_spec())
    before, pins = _id(), sandbox.pin_tree()
    with pytest.raises(KeyError), load(prepared([], [_spec(value_size=16)]), Bpf(), Pins(), rules=RECREATE):
        raise KeyError
    assert (_id(), sandbox.pin_tree()) == (before, pins)


def test_failure_at_any_call_leaves_the_old_map_as_it_was() -> None:
    old, new = _spec(), _spec(value_size=16, max_entries=8)
    _pinned(old)
    _fill(old, 3)
    objects = prepared([prog(uses=["stats"])], [new])
    pins, id_, fds = sandbox.pin_tree(), _id(), len(os.listdir("/proc/self/fd"))
    for nth in itertools.count(1):
        before = sandbox.object_ids()
        door = FailingDoor(bpf_syscall, nth, errno.ENOMEM)
        try:
            with load(objects, Bpf(door), Pins(), rules=MIGRATE) as loaded:
                loaded.commit()
        except LoaderError:
            assert (_id(), sandbox.pin_tree(), len(os.listdir("/proc/self/fd"))) == (id_, pins, fds)
        else:
            if not door.failed:
                break
            assert _id() != id_  # what failed was a mere probe, or a batch
            Path(PIN).unlink()
            _pinned(old)
            _fill(old, 3)
            id_ = _id()
            continue
        assert not any(sandbox.wait_until_freed(before).values())
    assert nth > 10


def test_pin_left_by_a_load_cut_short_is_taken_away_by_the_next() -> None:
    _pinned(_spec())
    loaded = load(prepared([], [_spec(value_size=16)]), Bpf(), Pins(), rules=RECREATE)
    loaded.own.undo.pop_all()  # as when the process is killed
    loaded.own.fds.close()
    assert sorted(os.listdir(MAPS)) == ["stats", "stats-next"]
    load(prepared([], [_spec(value_size=24)]), Bpf(), Pins(), rules=RECREATE).close()
    assert os.listdir(MAPS) == ["stats"]
    with Bpf().obj_get(PIN) as fd:
        assert Bpf().map_info(fd).value_size == 24


@pytest.mark.parametrize("runs", [True, False])
def test_moves_kept_in_a_directory_are_finished_or_dropped_after_a_crash(*, runs: bool) -> None:
    side = PurePosixPath("/sys/fs/bpf/own/edge/maps_new")
    _pinned(_spec())
    before = _id()
    rules = replace(RECREATE, side=side)
    loaded = load(prepared([], [_spec(value_size=16)]), Bpf(), Pins(), rules=rules)
    new = loaded.maps["stats"].info.id
    loaded.own.undo.pop_all()
    loaded.own.fds.close()
    assert Path(side / "maps" / "stats").exists()
    (finish_moves if runs else lambda side, _: drop_moves(side))(side, Pins().root)
    assert _id() == (new if runs else before)
    assert not Path(side).exists()

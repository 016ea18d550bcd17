"""The confirmed configuration in its file: all of it comes back, and what an older daemon did not write is harmless."""

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.daemon.fake_world import entry, read_objects
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.apply.confirmed_values import fingerprint, read_back, read_pinning_back, written
from xdploaderd.daemon.apply.confirming import Confirming
from xdploaderd.daemon.wanted.wishes import Settings
from xdploaderd.limits import DEFAULT_LIMITS

EDGE = entry()
CONFIRMED = ("as last confirmed",)  # what the status names for files: they may say something else by now
PINNING = PinningConf(
    root=PurePosixPath("/run/bpf"),
    by_name=PurePosixPath("a"),
    object_ns=PurePosixPath("b"),
    global_ns=PurePosixPath("c/d"),
    subdirs={5: PurePosixPath("e"), 12: PurePosixPath("f")},
    sources=CONFIRMED,
)
WHOLE = Settings(
    (EDGE,),
    PINNING,
    permanent=frozenset({"edge"}),
    limits=DEFAULT_LIMITS._replace(programs=3, map_bytes=1 << 20),
    protect=frozenset({"eth0", "eth1"}),
)
PLAIN = Settings((EDGE,), PinningConf(sources=CONFIRMED))
DIGESTS = {EDGE.object: "a" * 40}


def values_of(settings: Settings) -> Any:
    return json.loads(json.dumps(written(settings, DIGESTS)))


def test_every_part_comes_back() -> None:
    assert read_back(values_of(WHOLE), PLAIN) == WHOLE
    assert read_back(values_of(PLAIN), WHOLE) == PLAIN


def test_what_an_older_daemon_did_not_write_is_as_in_the_files() -> None:
    values = {name: value for name, value in values_of(PLAIN).items() if name in ("entries", "digests", "names")}
    assert read_back(values, WHOLE) == replace(WHOLE, permanent=frozenset())


@pytest.mark.parametrize(
    "changes",
    [
        {"digests": []},
        {"entries": [{"name": "edge"}]},
        {"limits": {"programs": "many"}},
        {"limits": []},
        {"names": None},
        {"protect": 7},
    ],
)
def test_values_of_no_configuration_are_none(changes: dict[str, object]) -> None:
    assert read_back({**values_of(WHOLE), **changes}, PLAIN) is None


def test_limit_that_this_daemon_does_not_know_is_left_out() -> None:
    found = read_back({**values_of(WHOLE), "limits": {"programs": 3, "of_a_newer_daemon": 1}}, PLAIN)
    assert found is not None
    assert found.limits == DEFAULT_LIMITS._replace(programs=3)


@pytest.mark.parametrize("values", [None, [], {}, {**values_of(WHOLE)["pinning"], "subdirs": {"x": "y"}}])
def test_pinning_that_is_not_understood_counts_as_none(values: object) -> None:
    assert read_pinning_back(values) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(WHOLE, limits=DEFAULT_LIMITS),
        replace(WHOLE, pinning=replace(PINNING, by_name=PurePosixPath("z"))),
        replace(WHOLE, protect=frozenset()),
    ],
)
def test_same_entries_with_other_settings_are_another_configuration(tmp_path: Path, other: Settings) -> None:
    confirming = Confirming(tmp_path / "data", read_objects(tmp_path), boot_id="boot")
    confirming.save(WHOLE, {EDGE.object: "a" * 40})
    confirming.begin(other, DIGESTS, 60)
    confirming.reject()
    after = Confirming(tmp_path / "data", read_objects(tmp_path), boot_id="boot")
    assert after.is_rejected(other, DIGESTS)
    assert not after.is_rejected(WHOLE, DIGESTS)


def test_rejected_configuration_of_an_older_daemon_is_known_by_its_entries(tmp_path: Path) -> None:
    confirming = Confirming(tmp_path / "data", read_objects(tmp_path), boot_id="boot")
    confirming.begin(WHOLE, DIGESTS, 60)
    confirming.reject()
    assert confirming.pending is not None
    confirming.pending = replace(confirming.pending, besides="")
    assert confirming.pending.fingerprint == fingerprint(values_of(WHOLE))
    assert confirming.is_rejected(PLAIN, DIGESTS)

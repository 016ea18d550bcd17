"""What is written down of runtime entries, and what of them comes back after a configuration on trial."""

import shutil
from pathlib import Path

import pytest

from tests.daemon.fake_world import entry
from xdploaderd.daemon.state.runtime_entries import RuntimeEntries
from xdploaderd.errors import FileError

MINE, OTHER = entry("mine", "eth0"), entry("other", "eth1")
SHA1S = {"mine": "a" * 40, "other": OSError("not read")}


def entries(tmp_path: Path) -> RuntimeEntries:
    return RuntimeEntries(tmp_path / "runtime", boot_id="boot")


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeEntries:
    made = entries(tmp_path)
    made.replace_all([MINE, OTHER])
    made.remember(SHA1S)
    return made


def test_entry_that_gave_way_is_remembered_over_a_restart_with_its_digest(
    runtime: RuntimeEntries, tmp_path: Path
) -> None:
    runtime.yield_to([entry("configured", "eth0")])
    after = entries(tmp_path)
    assert (after.all(), after.absent()) == ((OTHER,), (MINE,))
    assert [(one.entry, one.sha1) for one in after.remembered()] == [(MINE, "a" * 40), (OTHER, "")]
    after.bring_back()
    assert set(entries(tmp_path).all()) == {MINE, OTHER}
    assert entries(tmp_path).remembered() == ()


def test_entry_that_the_api_changed_is_not_brought_back(runtime: RuntimeEntries, tmp_path: Path) -> None:
    changed = entry("mine", "eth5")
    runtime.replace_all([changed])
    runtime.changed("mine")
    runtime.changed("other")
    runtime.bring_back()
    assert entries(tmp_path).all() == (changed,)


def test_nothing_comes_back_once_it_is_confirmed(runtime: RuntimeEntries, tmp_path: Path) -> None:
    runtime.yield_to([entry("mine", "eth9")])
    runtime.forget()
    runtime.bring_back()
    assert entries(tmp_path).all() == (OTHER,)


def test_without_a_trial_an_entry_gives_way_for_good(tmp_path: Path) -> None:
    runtime = entries(tmp_path)
    runtime.replace_all([MINE])
    runtime.yield_to([entry("configured", "eth0")])
    assert (runtime.all(), runtime.absent()) == ((), ())


def test_trial_is_refused_where_what_gives_way_cannot_be_written_down(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    runtime = RuntimeEntries(directory / "runtime", boot_id="boot")
    runtime.replace_all([MINE])
    shutil.rmtree(directory)
    with pytest.raises(FileError, match="could not come back"):
        runtime.remember(SHA1S)
    assert runtime.remembered() == ()

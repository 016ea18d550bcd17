"""The copies that a daemon keeps of objects as it read them: whose they are, and what it does when one is lost."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.changing_object import COUNT, COUNT_BY_1000, LOST, copies, counted, every, served, state
from tests.support.daemon import OBJECTS, Daemon, tail_entry, wait_for, xdp_entry, xdp_id
from tests.support.netns import Veth, ip

pytestmark = pytest.mark.kernel


def test_copies_are_of_root_alone_one_for_each_content_and_go_with_the_last_use(
    veth: Veth, daemon: Daemon, object_copy: Path, tmp_path: Path
) -> None:
    same = tmp_path / "same.o"
    shutil.copy(COUNT, same)
    daemon.configure(xdp_entry(object=object_copy), xdp_entry("late", interface="late0", object=same), tail_entry())
    daemon.start()
    found = copies(daemon)
    assert len(found) == 2
    assert {(path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) for path in found} == {(0o600, 0o700)}
    written = [path.stat().st_ctime_ns for path in found]
    shutil.copy(COUNT_BY_1000, same)
    daemon.ctl("plan")
    assert (copies(daemon), [path.stat().st_ctime_ns for path in found]) == (found, written)
    shutil.copy(COUNT, same)
    daemon.reload()
    assert (copies(daemon), [path.stat().st_ctime_ns for path in found]) == (found, written)
    daemon.configure(tail_entry())
    daemon.reload()
    assert [path.read_bytes() for path in copies(daemon)] == [(OBJECTS / "legacy_tail.bpf.o").read_bytes()]
    daemon.configure()
    daemon.reload()
    assert copies(daemon) == []


def damage(daemon: Daemon) -> None:
    (path,) = copies(daemon)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def remove(daemon: Daemon) -> None:
    shutil.rmtree(daemon.state / "read-objects")


@pytest.mark.parametrize("spoil", [damage, remove])
def test_spoilt_copy_is_made_anew_while_the_file_is_as_it_was_read(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], spoil: Callable[[Daemon], None]
) -> None:
    daemon.configure(every(object_copy))
    daemon.start()
    spoil(daemon)
    assert counted(served(daemon, second)) == counted(veth) == 1
    assert [path.read_bytes() for path in copies(daemon)] == [COUNT.read_bytes()]


@pytest.mark.parametrize("spoil", [damage, remove])
def test_without_copy_and_file_nothing_is_loaded_and_what_runs_stays(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], spoil: Callable[[Daemon], None]
) -> None:
    daemon.configure(every(object_copy))
    daemon.start()
    wait_for((daemon.data / "confirmed").exists, "kept as confirmed, which mends a copy while the file is as it was")
    before = xdp_id()
    spoil(daemon)
    shutil.copy(COUNT_BY_1000, object_copy)
    other = second()
    wait_for(lambda: state(daemon, "all@veth1") == "failed", "failed")
    assert LOST in daemon.attachment("all@veth1")["reason"]
    assert (xdp_id(), xdp_id("veth1"), counted(veth)) == (before, 0, 1)
    daemon.reload()
    assert (counted(other), counted(veth)) == (1000, 1000)


@pytest.fixture
def small_state(daemon: Daemon) -> Iterator[Path]:
    """A state directory with room for a page or so less than an object."""
    daemon.state.mkdir(mode=0o755)
    _mount("-t", "tmpfs", "-o", "size=128k,mode=755", "tmpfs", str(daemon.state))
    yield daemon.state
    if daemon.process is not None:
        daemon.end()
    subprocess.run(["umount", str(daemon.state)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def test_full_disk_keeps_nothing_from_being_loaded_and_the_copy_is_made_when_there_is_room(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], small_state: Path
) -> None:
    big = COUNT.read_bytes() + bytes(256 << 10)
    object_copy.write_bytes(big)
    daemon.configure(every(object_copy))
    daemon.start()
    assert "no copy of it is kept" in daemon.log()
    assert copies(daemon) == []
    second()
    wait_for(lambda: state(daemon, "all@veth1") == "attached", "attached")
    ip("link", "del", "veth1")
    wait_for(lambda: not state(daemon, "all@veth1"), "gone")
    _mount("-o", "remount,size=4m", str(small_state))
    daemon.call("Attach", name="all@veth0")  # any pass will do
    wait_for(lambda: [path.read_bytes() for path in copies(daemon)] == [big], "there is a copy")
    shutil.copy(COUNT_BY_1000, object_copy)
    assert counted(served(daemon, second)) == 1


def test_full_disk_and_a_changed_file_load_nothing_else(
    veth: Veth, daemon: Daemon, object_copy: Path, second: Callable[[], Veth], small_state: Path
) -> None:
    object_copy.write_bytes(COUNT.read_bytes() + bytes(256 << 10))
    daemon.configure(every(object_copy))
    daemon.start()
    shutil.copy(COUNT_BY_1000, object_copy)
    second()
    wait_for(lambda: state(daemon, "all@veth1") == "failed", "failed")
    assert LOST in daemon.attachment("all@veth1")["reason"]
    assert (xdp_id("veth1"), counted(veth)) == (0, 1)

"""What a crash around a configuration on trial leaves on disk, and what the next start makes of it (G2)."""

import shutil
from pathlib import Path, PurePosixPath

import pytest

from tests.daemon.fake_world import FakeWorld, entry, read_objects
from tests.daemon.test_service import Daemon
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.apply.confirming import Confirming
from xdploaderd.daemon.wanted.wishes import Settings


def settings(*paths: Path) -> Settings:
    entries = [entry(path.stem, f"eth{n}", object=PurePosixPath(path)) for n, path in enumerate(paths)]
    return Settings(tuple(entries), PinningConf())


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "one.o", tmp_path / "two.o"
    for path in made:
        path.write_bytes(path.name.encode())
    return made


def test_configuration_confirmed_just_before_a_crash_does_not_wait(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    new, read = settings(*paths), read_objects(tmp_path)
    confirming = Confirming(tmp_path / "data", read, boot_id="boot")
    confirming.begin(new, read.read_all(new.attachments), 60)
    assert Confirming(tmp_path / "data", read, boot_id="boot").waits()
    confirming.save(new, read.read_all(new.attachments))  # the crash comes before end()
    after = Confirming(tmp_path / "data", read, boot_id="boot")
    assert not after.waits()
    after.end()
    assert not (tmp_path / "data/pending").exists()


def test_copies_that_a_crash_left_go_with_the_first_save(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    data, read = tmp_path / "data", read_objects(tmp_path)
    both, one = settings(*paths), settings(paths[0])
    Confirming(data, read, boot_id="boot").save(both, read.read_all(both.attachments))
    copies = set((data / "confirmed-objects").glob("*/*"))
    shutil.copytree(data / "confirmed-objects", tmp_path / "copies")
    Confirming(data, read, boot_id="boot").save(one, read.read_all(one.attachments))
    shutil.copytree(tmp_path / "copies", data / "confirmed-objects", dirs_exist_ok=True)
    assert set((data / "confirmed-objects").glob("*/*")) == copies
    Confirming(data, read, boot_id="boot").save(one, read.read_all(one.attachments))
    assert [path.name for path in (data / "confirmed-objects").glob("*/*")] == ["one.o"]


def test_confirmed_object_is_kept_as_it_was_read(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    both, read = settings(*paths), read_objects(tmp_path)
    confirming = Confirming(tmp_path / "data", read, boot_id="boot")
    digests = read.read_all(both.attachments)
    paths[0].write_bytes(b"changed before it was kept")
    paths[1].unlink()
    confirming.save(both, digests)
    found = confirming.confirmed(both)
    assert found is not None
    assert [Path(entry.object).read_bytes() for entry in found[0].attachments] == [b"one.o", b"two.o"]
    assert sorted(map(str, found[1].values())) == sorted(map(str, digests.values()))


def test_copy_for_a_roll_back_is_made_as_soon_as_there_is_room(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    one, read = settings(paths[0]), read_objects(tmp_path)
    confirming = Confirming(tmp_path / "data", read, boot_id="boot")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/confirmed-objects").write_bytes(b"in the way")
    confirming.save(one, read.read_all(one.attachments))
    (tmp_path / "data/confirmed-objects").unlink()
    confirming.save(one, read.read_all(one.attachments))
    assert [path.read_bytes() for path in (tmp_path / "data").glob("confirmed-objects/*/*")] == [b"one.o"]


def test_copy_for_a_roll_back_outlives_what_it_was_made_of(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    one, both, read = settings(paths[0]), settings(*paths), read_objects(tmp_path)
    confirming = Confirming(tmp_path / "data", read, boot_id="boot")
    digests = read.read_all(both.attachments)
    confirming.save(one, digests)
    paths[0].write_bytes(b"changed")
    shutil.rmtree(tmp_path / "read-objects")
    confirming.save(both, digests)
    names = {path.name for path in (tmp_path / "data").glob("confirmed-objects/*/*")}
    assert names == {"one.o", "two.o"}


@pytest.mark.parametrize("waits", [True, False])
def test_pins_of_old_programs_outlive_a_start_where_a_trial_goes_on(tmp_path: Path, *, waits: bool) -> None:
    class World(FakeWorld):
        dropped = 0

        def drop(self) -> None:
            self.dropped += 1

    world = World()
    daemon = Daemon(tmp_path, world, "edge")
    if waits:
        daemon.confirming.begin(daemon.read(), daemon.objects.read_all(daemon.read().attachments), 60)
    daemon.trial.tidy()
    assert world.dropped == (0 if waits else 1)


def test_trial_of_the_confirmed_configuration_outlives_a_crash(tmp_path: Path, paths: tuple[Path, Path]) -> None:
    """Objects of runtime entries are on trial then, which no file of the configuration tells."""
    same, read = settings(*paths), read_objects(tmp_path)
    digests = read.read_all(same.attachments)
    confirming = Confirming(tmp_path / "data", read, boot_id="boot")
    confirming.save(same, digests)
    confirming.begin(same, digests, 60)
    after = Confirming(tmp_path / "data", read, boot_id="boot")
    assert after.waits()
    after.reject()  # the files are what is in force then
    assert Confirming(tmp_path / "data", read, boot_id="boot").pending is None

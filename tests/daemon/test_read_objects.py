"""What is remembered of objects: copies of what was read, found by digest, and given out only when they are intact."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tests.daemon.fake_world import entry, read_objects
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.wanted.file_changes import CHANGED, FileChanges
from xdploaderd.daemon.wanted.object_digest import digest
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.errors import FileError, LimitError
from xdploaderd.limits import DEFAULT_LIMITS


@pytest.fixture
def file(tmp_path: Path) -> PurePosixPath:
    path = tmp_path / "fw.o"
    path.write_bytes(b"one")
    return PurePosixPath(path)


def copies(directory: Path) -> list[Path]:
    return sorted(directory.glob("read-objects/*/*"))


def test_bytes_that_were_read_outlive_change_and_end_of_the_file(tmp_path: Path, file: PurePosixPath) -> None:
    objects = read_objects(tmp_path)
    sha1 = objects.read(file)
    assert sha1 == digest(b"one")
    Path(file).write_bytes(b"two")
    assert objects.bytes_of(file, digest(b"one")) == b"one"
    Path(file).unlink()
    assert objects.bytes_of(file, digest(b"one")) == b"one"
    assert isinstance(objects.read(file), FileError)


def test_file_that_cannot_be_read_at_a_start_is_what_it_was_before_in_this_boot(
    tmp_path: Path, file: PurePosixPath
) -> None:
    config = entry(object=file)
    objects = read_objects(tmp_path)
    objects.keep_only({file: str(objects.read(file))}, set())
    Path(file).unlink()
    again = read_objects(tmp_path)
    assert again.read_at_start([config]) == {file: digest(b"one")}
    assert again.bytes_of(file, digest(b"one")) == b"one"
    assert isinstance(again.read_all([config])[file], FileError)
    kept = KeptObjects(tmp_path / "read-objects", durable=False)
    another = ReadObjects(kept, tmp_path / "read", boot_id="another")
    assert isinstance(another.read_at_start([config])[file], FileError)


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda copy: copy.write_bytes(b"onf"), lambda copy: copy.write_bytes(b"")]
)
def test_spoilt_copy_is_never_given_out(tmp_path: Path, file: PurePosixPath, spoil: Callable[[Path], object]) -> None:
    objects = read_objects(tmp_path)
    objects.read(file)
    spoil(copies(tmp_path)[0])
    assert objects.bytes_of(file, digest(b"one")) == b"one"  # from its file, and kept again
    (copy,) = copies(tmp_path)
    assert copy.read_bytes() == b"one"
    spoil(copy)
    Path(file).write_bytes(b"two")
    with pytest.raises(FileError, match=r"no copy of that is left; a reload takes it"):
        objects.bytes_of(file, digest(b"one"))


def test_copy_that_could_not_be_kept_is_kept_when_that_can_be_done(
    tmp_path: Path, file: PurePosixPath, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "read-objects").write_bytes(b"in the way")
    objects = read_objects(tmp_path)
    assert objects.read(file) == digest(b"one")
    assert "no copy of it is kept" in caplog.text
    objects.keep_missing()
    (tmp_path / "read-objects").unlink()
    objects.keep_missing()
    Path(file).write_bytes(b"two")
    assert objects.bytes_of(file, digest(b"one")) == b"one"


def test_nothing_is_kept_of_a_file_that_changed_before_there_was_room(tmp_path: Path, file: PurePosixPath) -> None:
    (tmp_path / "read-objects").write_bytes(b"in the way")
    objects = read_objects(tmp_path)
    objects.read(file)
    Path(file).write_bytes(b"two")
    (tmp_path / "read-objects").unlink()
    objects.keep_missing()
    assert copies(tmp_path) == []


def test_only_what_is_used_stays_and_files_of_one_content_have_one_copy(tmp_path: Path, file: PurePosixPath) -> None:
    same, other = PurePosixPath(tmp_path / "same.o"), PurePosixPath(tmp_path / "other.o")
    Path(same).write_bytes(b"one")
    Path(other).write_bytes(b"other")
    objects = read_objects(tmp_path)
    read = {path: str(objects.read(path)) for path in (file, same, other)}
    assert len(copies(tmp_path)) == 2
    objects.keep_only({file: read[file]}, {read[other]})
    assert len(copies(tmp_path)) == 2
    objects.keep_only({file: read[file]}, set())
    assert [copy.read_bytes() for copy in copies(tmp_path)] == [b"one"]
    written = copies(tmp_path)[0].stat(), (tmp_path / "read").stat()
    objects.read(file)
    objects.keep_only({file: read[file]}, set())
    assert (copies(tmp_path)[0].stat().st_ctime_ns, (tmp_path / "read").stat().st_ino) == (
        written[0].st_ctime_ns,
        written[1].st_ino,
    )


def test_what_a_crash_left_half_written_is_swept(tmp_path: Path, file: PurePosixPath) -> None:
    objects = read_objects(tmp_path)
    sha1 = str(objects.read(file))
    (copies(tmp_path)[0].parent / ".new").write_bytes(b"on")
    (tmp_path / "read-objects/another").mkdir()
    (tmp_path / "read-objects/another/.new").write_bytes(b"on")
    objects.keep_only({file: sha1}, set())
    assert [copy.read_bytes() for copy in copies(tmp_path)] == [b"one"]
    assert len(list((tmp_path / "read-objects").iterdir())) == 1


def test_object_of_a_store_is_its_own_copy_and_damage_to_it_is_told(tmp_path: Path) -> None:
    store = KeptObjects(tmp_path / "objects", durable=False)
    path = store.keep(b"one", "fw.o")
    kept = KeptObjects(tmp_path / "read-objects", durable=False)
    objects = ReadObjects(kept, tmp_path / "read", boot_id="boot", stores=(store,))
    assert objects.read(path) == digest(b"one")
    assert copies(tmp_path) == []
    assert objects.bytes_of(path, digest(b"one")) == b"one"
    Path(path).write_bytes(b"two")
    error = objects.read(path)
    assert isinstance(error, FileError)
    assert "is damaged" in str(error)
    with pytest.raises(FileError, match="is damaged"):
        objects.bytes_of(path, digest(b"one"))


def test_file_over_the_limit_is_no_object(tmp_path: Path, file: PurePosixPath) -> None:
    objects = read_objects(tmp_path)
    assert isinstance(objects.read(file, DEFAULT_LIMITS._replace(file_size=2)), LimitError)


def test_index_that_is_not_understood_counts_as_none(tmp_path: Path, file: PurePosixPath) -> None:
    objects = read_objects(tmp_path)
    objects.keep_only({file: str(objects.read(file))}, set())
    (tmp_path / "read").write_bytes(b"nonsense")
    Path(file).unlink()
    assert isinstance(read_objects(tmp_path).read_at_start([entry(object=file)])[file], FileError)


def test_change_of_a_file_is_told_until_it_is_as_it_was(tmp_path: Path, file: PurePosixPath) -> None:
    changes = FileChanges()
    assert changes.note_of(file, digest(b"one")) == ""
    Path(file).write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert changes.note_of(file, digest(b"one")) == CHANGED
    Path(file).write_bytes(b"one")
    assert changes.note_of(file, digest(b"one")) == ""
    Path(file).unlink()
    assert "not there any more" in changes.note_of(file, digest(b"one"))

"""Reading the files that entries name: whole, in bounds, and with as few system calls as it takes."""

import os
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import FileError, LimitError
from xdploaderd.limits import MIB, Limits


def written(tmp_path: Path, raw: bytes) -> PurePosixPath:
    (tmp_path / "fw.o").write_bytes(raw)
    return PurePosixPath(tmp_path / "fw.o")


@pytest.mark.parametrize("size", [0, 1, 4440, MIB - 1, MIB, MIB + 1])
def test_file_is_read_whole(tmp_path: Path, size: int) -> None:
    raw = os.urandom(size)
    assert read_object(written(tmp_path, raw)) == raw


def test_small_file_is_read_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def pread(fd: int, size: int, offset: int, read: object = os.pread) -> bytes:
        sizes.append(size)
        return read(fd, size, offset)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(os, "pread", pread)
    read_object(written(tmp_path, bytes(4440)))
    assert sizes == [4441]


@pytest.mark.parametrize("seen", [0, 10, 99, 101, 5000])
def test_file_that_changes_its_size_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: int
) -> None:
    path = written(tmp_path, bytes(range(100)))
    mode = os.stat(path).st_mode
    monkeypatch.setattr(os, "fstat", lambda _fd: SimpleNamespace(st_mode=mode, st_size=seen))
    assert read_object(path) == bytes(range(100))


@pytest.mark.parametrize(("limit", "fits"), [(99, False), (100, True), (101, True)])
def test_file_may_be_as_large_as_the_limit(tmp_path: Path, limit: int, fits: bool) -> None:
    path, limits = written(tmp_path, bytes(100)), Limits(file_size=limit)
    if fits:
        assert read_object(path, limits) == bytes(100)
        return
    with pytest.raises(LimitError, match=r"object '.*fw\.o' has too many bytes"):
        read_object(path, limits)


def test_refusal_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"object '.*/absent\.o' cannot be read: no such file") as refused:
        read_object(PurePosixPath(tmp_path / "absent.o"))
    assert refused.value.fields == {"path": str(tmp_path / "absent.o")}
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileError, match="is not a regular file"):
        read_object(PurePosixPath(tmp_path / "fifo"))

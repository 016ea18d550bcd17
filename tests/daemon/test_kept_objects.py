"""Removing kept objects, where that fails once or for good."""

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from xdploaderd.daemon.state.kept_objects import TRIES, KeptObjects

Remove = Callable[[KeptObjects, PurePosixPath], None]
WAYS: dict[str, Remove] = {"sweep": lambda kept, _: kept.sweep(()), "drop": lambda kept, path: kept.drop((path,))}


def _failing(monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> list[str]:
    """Let the removal of a file fail so often; return the attempts."""
    real, attempts = os.unlink, list[str]()

    def unlink(what: object, **named: object) -> None:
        if str(what) == str(path):
            attempts.append(str(what))
            if len(attempts) <= times:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(what, **named)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(os, "unlink", unlink)
    return attempts


@pytest.mark.parametrize("way", WAYS)
def test_g3_object_whose_removal_fails_once_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    kept = KeptObjects(tmp_path / "objects", durable=False)
    path = kept.keep(b"one", "one.o")
    _failing(monkeypatch, Path(path), TRIES - 1)
    WAYS[way](kept, path)
    assert list((tmp_path / "objects").iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_object_that_cannot_be_removed_is_told_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    kept = KeptObjects(tmp_path / "objects", durable=False)
    path = kept.keep(b"one", "one.o")
    attempts = _failing(monkeypatch, Path(path), 2 * TRIES)
    WAYS[way](kept, path)
    assert Path(path).read_bytes() == b"one"
    assert len(attempts) == TRIES
    (record,) = caplog.records
    assert str(Path(path).parent) in record.getMessage()


def test_object_that_cannot_be_removed_keeps_no_other_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptObjects(tmp_path / "objects", durable=False)
    paths = [Path(kept.keep(raw, "an.o")) for raw in (b"one", b"two", b"three")]
    stays = next((tmp_path / "objects").iterdir()) / "an.o"
    _failing(monkeypatch, stays, 2 * TRIES)
    kept.sweep(())
    assert [path for path in paths if path.exists()] == [stays]


def test_store_that_cannot_be_listed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "objects").write_bytes(b"a file in its place")
    KeptObjects(tmp_path / "objects", durable=False).sweep(())
    assert "not a directory" in caplog.text.lower()

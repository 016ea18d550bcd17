"""The listening control socket in the file system: made for root alone, a dead daemon's replaced, a live one's kept."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xdploaderd.control.inherited import inherited_listener
from xdploaderd.errors import FileError, LockedError

_BACKLOG = 128
_PROBE_SECONDS = 1.0


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen on `path` with mode 0600; on exit the socket is closed and its file removed, unless another took the path.

    A socket for `path` that the service manager passes is used instead, and its file stays: the manager goes on
    listening. A missing directory is made with mode 0700. Raises LockedError when somebody answers on the path,
    FileError when something else than a socket is there, or when others could replace it.
    """
    passed = inherited_listener(path, os.environ)
    if passed is not None:
        with passed:
            yield passed
        return
    listener, made = _open(path)
    try:
        yield listener
    finally:
        with suppress(FileNotFoundError):
            if _identity(path) == made:
                path.unlink()
        listener.close()


def _open(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_directory(path.parent)
        _remove_stale(path)
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # before listen(): until then nobody can connect
        listener.listen(_BACKLOG)
        return listener, _identity(path)
    except OSError as error:
        listener.close()
        raise FileError(f"control socket '{path}' cannot be made: {error.strerror or error}") from error
    except BaseException:
        listener.close()
        raise


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _check_directory(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FileError(f"others can write to directory '{directory}', wanted one that is root's alone")


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileError(f"'{path}' is no socket, wanted a place for the control socket")
        if _answers(path):
            raise LockedError(f"another daemon answers on '{path}'")
        path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):
            return True  # its backlog is full
        return True

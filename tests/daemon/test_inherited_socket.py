"""The service manager's socket is used when it is the right one, and stays when the daemon goes."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdploaderd.control import inherited
from xdploaderd.control.inherited import inherited_listener
from xdploaderd.control.listener import listening


@pytest.fixture
def passed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Yield the environment that tells of a socket listening on `path`, which the code under test comes to own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        number = os.dup(listener.fileno())
    monkeypatch.setattr(inherited, "FIRST_FD", number)
    yield {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
    try:
        os.close(number)
    except OSError:
        return  # taken over and closed


def test_socket_for_the_path_is_taken_and_children_are_not_told(path: Path, passed: dict[str, str]) -> None:
    listener = inherited_listener(path, passed)
    assert listener is not None
    with listener, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(path))
        assert not listener.get_inheritable()
    assert passed == {}


def test_socket_for_another_path_is_left(path: Path, passed: dict[str, str]) -> None:
    assert inherited_listener(path.with_name("other"), passed) is None


def test_variables_for_another_process_are_ignored(path: Path, passed: dict[str, str]) -> None:
    assert inherited_listener(path, {**passed, "LISTEN_PID": "1"}) is None
    assert inherited_listener(path, {}) is None


@pytest.mark.parametrize("count", ["", "-1", "x", "99999999999"])
def test_strange_counts_end_the_search(path: Path, passed: dict[str, str], count: str) -> None:
    assert inherited_listener(path.with_name("other"), {**passed, "LISTEN_FDS": count}) is None


def test_file_of_the_managers_socket_stays(path: Path, passed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    with listening(path) as listener:
        assert listener.getsockname() == os.fspath(path)
    assert path.exists()

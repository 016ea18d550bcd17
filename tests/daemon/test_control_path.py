"""The control socket in the file system: made, refused, replaced; and a client's word on who is not there."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from xdploaderd.control.client import ControlClient
from xdploaderd.control.listener import listening
from xdploaderd.errors import FileError, LockedError, UnreachableError


def test_socket_is_for_root_alone_and_goes_with_the_daemon(path: Path) -> None:
    with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_missing_directory_is_made_for_root_alone(path: Path) -> None:
    with listening(path.parent / "a" / "control"):
        assert stat.S_IMODE((path.parent / "a").stat().st_mode) == 0o700


def test_dead_daemons_socket_is_replaced_a_live_ones_kept(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(os.fspath(path))
    with listening(path):
        with pytest.raises(LockedError, match="another daemon answers"), listening(path):
            pass
        assert path.exists()


def test_socket_of_a_successor_is_not_removed(path: Path) -> None:
    with listening(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as successor:
            successor.bind(os.fspath(path))
    assert path.exists()


def test_file_that_is_no_socket_is_refused_and_kept(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FileError, match="is no socket"), listening(path):
        pass
    assert path.read_text() == "mine"


def test_directory_that_others_can_write_to_is_refused(path: Path) -> None:
    path.parent.chmod(0o1777)
    with pytest.raises(FileError, match="others can write"), listening(path):
        pass


def test_path_too_long_for_a_socket_is_refused(path: Path) -> None:
    with pytest.raises(FileError, match="too long"), listening(path.parent / ("x" * 200)):
        pass


def test_nobody_there_is_told_with_a_hint(path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"does not exist; is xdploaderd running\?"):
        ControlClient(path).call("Status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(os.fspath(path))
        with pytest.raises(UnreachableError, match="nobody listens"):
            ControlClient(path).call("Status")


def test_daemon_that_does_not_answer_in_time_is_unreachable(path: Path) -> None:
    with listening(path), pytest.raises(UnreachableError, match=r"within 0\.05 s"):
        ControlClient(path, timeout=0.05).call("Status")


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400\0", b"[]\0", b'{"parameters":[1]}\0', b"\xff\0", b""])
def test_other_server_on_the_path_is_unreachable(path: Path, answer: bytes) -> None:
    async def main() -> None:
        async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(handle, path):
            with pytest.raises(UnreachableError):
                await asyncio.to_thread(ControlClient(path).call, "Status")

    asyncio.run(main())

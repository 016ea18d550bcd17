"""What the service manager and the log get."""

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from xdploaderd.log import OneLine
from xdploaderd.notify import Notifier, watchdog_period


def test_manager_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier = Notifier()
        notifier.reloading()
        notifier.ready("1 attached\nREADY=0")
        notifier.alive()
        notifier.stopping()
        reloading, ready, alive, stopping = (manager.recv(256).decode() for _ in range(4))
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == "READY=1\nSTATUS=1 attached READY=0"
    assert (alive, stopping) == ("WATCHDOG=1", "STOPPING=1")


def test_manager_that_does_not_listen_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready("1 attached")


def test_busy_manager_does_not_stop_the_daemon_and_hears_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier = Notifier()
        for number in range(2000):  # more than the kernel queues (net.unix.max_dgram_qlen)
            notifier.status(f"{number} attached")
        with suppress(BlockingIOError):
            while manager.recv(256) != b"STATUS=1999 attached":
                pass
        notifier.status("1999 attached")
        notifier.status("1999 attached")
        assert manager.recv(256) == b"STATUS=1999 attached"
        with pytest.raises(BlockingIOError):
            manager.recv(256)


def test_nobody_is_told_outside_of_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("1 attached")


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_is_fed_at_half_its_time(environ: dict[str, str], period: float | None) -> None:
    assert watchdog_period(environ) == period


def test_name_with_a_newline_cannot_forge_a_log_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "attached %s", ("a\nERROR x: b\x1b[2J",), None)
    assert OneLine("%(levelname)s %(name)s: %(message)s").format(record) == r"INFO x: attached a\x0aERROR x: b\x1b[2J"

"""Programs that guests run as forks of the test process."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support import forked

CTL = [sys.executable, "-m", "xdploaderd.cli.main"]


def test_fork_prints_and_ends_as_the_program_does() -> None:
    good = forked.run([*CTL, "load", "--help"], os.environ)
    assert (good.returncode, good.stderr) == (0, "")
    assert "xdploaderctl load" in good.stdout
    bad = forked.run([*CTL, "no-such-verb"], os.environ)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "no-such-verb" in bad.stderr


def test_fork_has_the_environment_that_it_is_given() -> None:
    status = forked.run([*CTL, "status"], {**os.environ, "XDPLOADERD_SOCKET": "/nowhere/control"})
    assert status.returncode != 0
    assert "/nowhere/control" in status.stderr


def test_wait_for_a_fork_that_runs_on_ends_after_its_timeout() -> None:
    child = forked.Child(os.fork() or _wait_to_be_killed())
    assert child.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.001)
    os.kill(child.pid, signal.SIGKILL)
    assert (child.wait(5), child.poll()) == (-signal.SIGKILL, -signal.SIGKILL)


def _wait_to_be_killed() -> int:
    try:
        signal.pause()
    finally:
        os._exit(1)


def test_command_lines_of_others_are_not_ours() -> None:
    assert forked.is_ours(CTL)
    assert not forked.is_ours(["strace", *CTL])
    assert not forked.is_ours([sys.executable, "-c", ""])

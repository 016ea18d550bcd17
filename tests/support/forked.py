"""The daemon and xdploaderctl as forks of the test process: in a guest to import them takes ten seconds a start."""

import gc
import importlib
import logging
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import xdploaderd.cli
from xdploaderd.__main__ import main as daemon_main
from xdploaderd.cli.main import main as ctl_main

# Set in guests only (tools.vm). Daemons below a tracer, and those that tests start by themselves, are whole processes.
FORKED = os.environ.get("XDPLOADERD_TEST_FORKED") == "1"
ROOT = Path(__file__).parents[2]
_MAINS: Mapping[str, Callable[[], int]] = {"xdploaderd": daemon_main, "xdploaderd.cli.main": ctl_main}


class Child:
    """A forked process: as much of subprocess.Popen as a Daemon asks for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return None as long as it runs, else its status."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Return its status when it has ended; raises TimeoutExpired after so many seconds."""
        if self.poll() is None and not _ended(self.pid, timeout):
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0)
        if self._status is None:  # a tracer may have to reap it first
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def _ended(pid: int, timeout: float | None) -> bool:
    fd = os.pidfd_open(pid)
    try:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))
    finally:
        os.close(fd)


def is_ours(command: Sequence[str]) -> bool:
    """Tell whether a command line is one of this project in Python, which a fork can run."""
    return list(command[:2]) == [sys.executable, "-m"] and command[2] in _MAINS


def fork(command: Sequence[str], environ: Mapping[str, str], *, errors: int, output: int = 1) -> Child:
    """Run a command line for which `is_ours` holds; errors and output: descriptors, which stay the caller's."""
    _import_all()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _be(command, environ, output, errors)
    return Child(pid)


def run(command: Sequence[str], environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, as subprocess.run does."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        status = fork(command, environ, output=output.fileno(), errors=errors.fileno()).wait()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, status, output.read(), errors.read())


@cache
def _import_all() -> None:
    """Import what xdploaderctl imports on use."""
    for module in pkgutil.iter_modules(xdploaderd.cli.__path__, "xdploaderd.cli."):
        importlib.import_module(module.name)
    if FORKED:
        gc.freeze()


def _be(command: Sequence[str], environ: Mapping[str, str], output: int, errors: int) -> NoReturn:
    """Become that program, with nothing of the test process but what is imported."""
    status = 1
    try:
        os.dup2(errors, 2)
        os.dup2(output, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir(ROOT)
        os.environ.clear()
        os.environ.update(environ)
        _forget_tests()
        sys.argv = [command[2], *command[3:]]
        status = _MAINS[command[2]]()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - what an interpreter does with what nobody has caught
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _forget_tests() -> None:
    """Take off what the test runner put in: its streams, hooks, log handlers and filters of warnings."""
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - until the process ends
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - likewise
    sys.unraisablehook = sys.__unraisablehook__
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)

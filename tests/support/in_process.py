"""A whole daemon in the test's own process: the real parts on the real kernel, without sockets, signals and events.

Its loop runs only while something is asked of it, so nothing happens in between.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.support.daemon import BPFFS
from xdploaderd.daemon.assembly import Doors, assemble
from xdploaderd.daemon.options import Options
from xdploaderd.daemon.service import Service
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net.rtnl import Rtnl

T = TypeVar("T")


class InProcess:
    """The daemon's service, and the loop that it runs in."""

    def __init__(self, service: Service, runner: asyncio.Runner) -> None:
        self.service = service
        self._runner = runner

    def ask(self, request: Coroutine[None, None, T]) -> T:
        """Run the daemon until a request is answered."""
        return self._runner.run(request)


@contextmanager
def in_process(options: Options, open_rtnl: Callable[[], Awaitable[Rtnl]] = Rtnl.open) -> Iterator[InProcess]:
    """Start a daemon in this process and make its first pass; what it attached stays."""
    options.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with asyncio.Runner() as runner, ThreadPoolExecutor(1, "worker") as worker:
        rtnl = runner.run(_awaited(open_rtnl()))
        try:
            reconciler, service = assemble(options, Doors(rtnl=rtnl, worker=worker, bpf=Bpf()))
            jobs = [runner.get_loop().create_task(job) for job in (reconciler.run(), service.keep_trials())]
            try:
                runner.run(_awaited(reconciler.settled()))
                yield InProcess(service, runner)
            finally:
                runner.run(_cancelled(jobs))
                _unlock(BPFFS)
        finally:
            runner.run(rtnl.close())


def _unlock(root: Path) -> None:
    """Close the descriptor that locks the pins, which a daemon holds until its process ends."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            if os.readlink(f"/proc/self/fd/{name}") == str(root):
                os.close(int(name))


async def _awaited(found: Awaitable[T]) -> T:
    return await found


async def _cancelled(jobs: "list[asyncio.Task[None]]") -> None:
    for job in jobs:
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job


class Faults(logging.Handler):
    """Collects the log records that tell of a fault of the daemon itself: tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with an exception."""
        if record.exc_info:
            self.tracebacks.append(self.format(record))

"""A whole daemon in the test's own process: the real parts on the real kernel, without sockets, signals and events.

Its loop runs only while something is asked of it, so nothing happens in between.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.daemon import BPFFS
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.assembly import Doors, assemble
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.options import Options
from xdploaderd.daemon.service.service import Service
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net.rtnl import Rtnl

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the daemon reaches the world through; a test may put something else there."""

    open_rtnl: Callable[[], Awaitable[Rtnl]] = Rtnl.open
    open_bpf: Callable[[], Bpf] = Bpf
    steady: Callable[[], float] = time.monotonic
    boot: Callable[[], float] = boot_clock


class InProcess:
    """One run of the daemon, from its first pass to its end, in a loop of the caller's."""

    service: Service
    reconciler: Reconciler
    rtnl: Rtnl

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop, outside: Outside = Outside()) -> None:
        self._options = options
        self._loop = loop
        self._outside = outside
        self._worker = ThreadPoolExecutor(1, "worker")
        self._threads = ThreadPoolExecutor(2, "threads")
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin as a new process does, from directories, pins and hooks alone. Raises what the start does."""
        self._options.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._loop.set_default_executor(self._threads)
        try:
            self.ask(self._start())
        except BaseException:
            self.end()
            raise

    async def _start(self) -> None:
        outside = self._outside
        self.rtnl = await outside.open_rtnl()
        doors = Doors(
            rtnl=self.rtnl,
            worker=self._worker,
            bpf=outside.open_bpf(),
            steady=outside.steady,
            boot=outside.boot,
        )
        self.reconciler, self.service = assemble(self._options, doors)
        self.add(self.reconciler.run())
        self.add(self.service.keep_trials())
        await self.reconciler.settled()

    def add(self, job: Coroutine[None, None, None]) -> None:
        """Let something run beside, until the end."""
        self.tasks.append(self._loop.create_task(job))

    def ask(self, request: Coroutine[Any, Any, T]) -> T:
        """Run the daemon until a request is answered."""
        return self._loop.run_until_complete(request)

    def end(self) -> None:
        """End as SIGKILL between two changes does: what was attached stays, only the process's descriptors go."""
        try:
            self.ask(self._cancelled())
        finally:
            for pool in (self._threads, self._worker):
                pool.shutdown()
            _unlock(BPFFS)

    async def _cancelled(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        if hasattr(self, "rtnl"):
            await self.rtnl.close()
        for task in self.tasks:
            if not task.cancelled():
                task.result()


@contextmanager
def in_process(options: Options, outside: Outside = Outside()) -> Iterator[InProcess]:
    """Start a daemon in this process and make its first pass; what it attached stays."""
    with closing(asyncio.new_event_loop()) as loop:
        process = InProcess(options, loop, outside)
        process.start()
        try:
            yield process
        finally:
            process.end()


def _unlock(root: Path) -> None:
    """Close the descriptor that locks the pins, which a daemon holds until its process ends."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            if os.readlink(f"/proc/self/fd/{name}") == str(root):
                os.close(int(name))


class Faults(logging.Handler):
    """Collects the log records that tell of a fault of the daemon itself: tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with an exception."""
        if record.exc_info:
            self.tracebacks.append(self.format(record))

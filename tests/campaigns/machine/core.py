"""The daemon's core in this process: its loop stands still between steps, its clocks jump, its writes are counted."""

import asyncio
import os
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ctypes import Structure
from pathlib import Path
from typing import Any, TypeVar

from xdploaderd.daemon.assembly import Doors, assemble
from xdploaderd.daemon.confirming import boot_clock
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.reconcile import Reconciler
from xdploaderd.daemon.service import Service
from xdploaderd.errors import AttachError
from xdploaderd.info import TcFilter
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import BpfCmd, Ifindex

T = TypeVar("T")

BPFFS = "/sys/fs/bpf"
GRACE = 60.0  # seconds that orphans are left alone
PATIENCE = 20.0  # seconds that a request may take
MOST_PASSES = 20  # after one step of the world: more is a daemon that does not come to rest
TURNS = 4  # of the loop: the socket of events is read, and what was read is taken note of


class Clock:
    """The real clocks, and how far they were put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def steady(self) -> float:
        """Stand for time.monotonic()."""
        return time.monotonic() + self.ahead

    def boot(self) -> float:
        """Stand for CLOCK_BOOTTIME."""
        return boot_clock() + self.ahead


class _Loop(asyncio.SelectorEventLoop):
    """An event loop by such a clock: what sleeps wakes when it is put forward."""

    def __init__(self, clock: Clock) -> None:
        self._steady = clock.steady
        super().__init__()

    def time(self) -> float:
        return self._steady()


class Writes:
    """What was written to the kernel, by the names of the calls."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._countdown = 0
        self._errno = 0

    def fail(self, nth: int, number: int) -> None:
        """Let the nth write from now on fail with that errno; 0: none."""
        self._countdown, self._errno = nth, number

    @property
    def armed(self) -> bool:
        """Whether one is to fail, or has failed."""
        return self._errno != 0

    def note(self, name: str) -> None:
        """Count a write; raise OSError where it is the one that fails."""
        self.done.append(name)
        self._countdown -= 1
        if self.armed and self._countdown == 0:
            raise OSError(self._errno, os.strerror(self._errno))

    def bpf(self, cmd: BpfCmd, attr: Structure) -> int:
        """Stand for bpf(2)."""
        if not _only_reads(cmd):
            self.note(cmd.name)
        return bpf_syscall(cmd, attr)


def _only_reads(cmd: BpfCmd) -> bool:
    return "GET" in cmd.name or "QUERY" in cmd.name or "LOOKUP" in cmd.name


class CountedRtnl(Rtnl):
    """The netlink sockets; each change is counted."""

    writes: Writes

    def _note(self, name: str) -> None:
        try:
            self.writes.note(name)
        except OSError as error:
            raise AttachError(f"{name} refused by the test", errno=error.errno or 0) from error

    async def set_xdp(self, index: Ifindex, fd: int, flags: int, expected_fd: int) -> None:
        self._note("SETLINK")
        await super().set_xdp(index, fd, flags, expected_fd)

    async def ensure_clsact(self, index: Ifindex) -> bool:
        self._note("NEWQDISC")
        return await super().ensure_clsact(index)

    async def delete_clsact(self, index: Ifindex) -> None:
        self._note("DELQDISC")
        await super().delete_clsact(index)

    async def add_filter(self, wanted: TcFilter, fd: int) -> None:
        self._note("NEWTFILTER")
        await super().add_filter(wanted, fd)

    async def replace_filter(self, wanted: TcFilter, fd: int) -> None:
        self._note("NEWTFILTER")
        await super().replace_filter(wanted, fd)

    async def delete_filter(self, wanted: TcFilter) -> None:
        self._note("DELTFILTER")
        await super().delete_filter(wanted)


class Core:
    """Loop and service over one directory of state, data and configuration."""

    service: Service

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.config = directory / "xdploaderd.yaml"
        self.state = directory / "state"
        self.data = directory / "data"
        self.writes = Writes()
        self.passes = 0
        self._clock = clock
        self._events: list[int] = []
        pinning = directory / "pinning.conf"
        pinning.touch()
        self.state.mkdir(exist_ok=True)
        paths = {"--config": directory, "--pinning": pinning, "--state-dir": self.state, "--data-dir": self.data}
        words = [str(word) for pair in paths.items() for word in pair]
        self._options = parse_options([*words, "--orphan-grace", str(GRACE), "--bus", "none"])
        self._loop = _Loop(clock)

    def start(self) -> None:
        """Begin as a new process does: from directories, pins and hooks alone. Raises what the start does."""
        self._worker = ThreadPoolExecutor(1, "worker")
        self._threads = ThreadPoolExecutor(2, "threads")
        self._loop.set_default_executor(self._threads)
        self._events.clear()
        self._run(self._start())

    async def _start(self) -> None:
        self._rtnl = await CountedRtnl.open()
        self._rtnl.writes = self.writes
        doors = Doors(
            rtnl=self._rtnl,
            worker=self._worker,
            bpf=Bpf(self.writes.bpf),
            steady=self._clock.steady,
            boot=self._clock.boot,
        )
        self._reconciler, self.service = assemble(self._options, doors)
        jobs: tuple[Coroutine[None, None, None], ...] = (
            self._reconciler.run(),
            self.service.keep_trials(),
            self._listen(self._reconciler),
        )
        self._tasks = [self._loop.create_task(job) for job in jobs]
        await self._reconciler.settled()
        async with asyncio.timeout(PATIENCE):
            await self._rest()

    def end(self) -> None:
        """End as SIGKILL between two changes does: nothing is cleaned up, only the process's descriptors go."""
        for task in self._tasks:
            task.cancel()
        self._run(asyncio.wait(self._tasks))
        self._run(self._rtnl.close())
        for pool in (self._threads, self._worker):
            pool.shutdown()
        for fd in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                if os.readlink(f"/proc/self/fd/{fd}") == BPFFS:
                    os.close(int(fd))  # the lock on the root of all pins

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def call(self, request: Coroutine[Any, Any, T]) -> T:
        """Return what a request of the service gives, and let the daemon come to rest. Raises what it raises."""
        try:
            return self._run(request)
        finally:
            self.rest()

    def rest(self) -> None:
        """Let the daemon do what the events since the last step ask for, and no more."""
        self._run(self._rest())

    def look(self) -> None:
        """Let the daemon look at the world, as it does from time to time."""
        self._run(self._reconciler.settled())
        self.rest()

    def miss_events(self) -> None:
        """Let the events since the last step be lost; the daemon learns only that some were."""
        self._run(self._turn())
        self._events.clear()
        self.look()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    async def _listen(self, reconciler: Reconciler) -> None:
        async for index in self._rtnl.changes():
            self._events.append(index)

    async def _turn(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for task in self._tasks:
            assert not task.done(), f"a part of the daemon ended: {task}"

    async def _rest(self) -> None:
        await self._turn()
        for _ in range(MOST_PASSES):
            async with self._reconciler.writing:  # no pass is under way, or begins before the next turn of the loop
                if not self._events:
                    return
            self._events.clear()
            await self._reconciler.settled()
            self.passes += 1
            await self._turn()
        raise AssertionError(f"the daemon does not come to rest within {MOST_PASSES} passes")

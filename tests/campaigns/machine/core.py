"""The daemon's core in this process: its loop stands still between steps, its clocks jump, its writes are counted."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.campaigns.machine.settling import GRACE
from tests.campaigns.machine.writes import CountedRtnl, KilledError, Writes
from tests.support.daemon import SLOWNESS
from tests.support.in_process import InProcess, Outside
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.service.service import Service
from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.kernel.bpf import Bpf

T = TypeVar("T")

PATIENCE = 20.0 * SLOWNESS  # seconds that a request may take
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


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody asked for, but a kill: the record of it would hold what the dead had open."""
    if not isinstance(context.get("exception"), KilledError):
        loop.default_exception_handler(context)


class Core:
    """The daemon in one directory of state, data and configuration, started again and again."""

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
        paths = {"--config": directory, "--pinning": pinning, "--state-dir": self.state, "--data-dir": self.data}
        words = [str(word) for pair in paths.items() for word in pair]
        self._options = parse_options([*words, "--orphan-grace", str(GRACE), "--bus", "none"])
        self._outside = Outside(
            open_rtnl=self._open_rtnl,
            open_bpf=lambda: Bpf(self.writes.bpf),
            steady=clock.steady,
            boot=clock.boot,
        )
        self._loop = _Loop(clock)
        self._loop.set_exception_handler(_tell)

    async def _open_rtnl(self) -> CountedRtnl:
        rtnl = await CountedRtnl.open()
        rtnl.writes = self.writes
        self._process.add(self._listen(rtnl))
        return rtnl

    @property
    def service(self) -> Service:
        return self._process.service

    def start(self) -> None:
        """Begin as a new process does: from directories, pins and hooks alone. Raises what the start does."""
        self._events.clear()
        self._process = InProcess(self._options, self._loop, self._outside)
        self._process.start()
        self.rest()

    def end(self) -> None:
        """End as SIGKILL between two changes does."""
        self._process.end()

    def kill_in(self, request: Coroutine[Any, Any, object], calls: int) -> None:
        """Make a request, and end as SIGKILL does before the next call after so many, or at its end."""
        self._kill_in(request, self.writes.ending_after(calls))

    def kill_when(self, is_time: Callable[[], bool], request: Coroutine[Any, Any, object]) -> None:
        """Make a request, and end as SIGKILL does before the first call at which it is time to, or at its end."""
        self._kill_in(request, self.writes.ending_when(is_time))

    def _kill_in(self, request: Coroutine[Any, Any, object], ending: AbstractContextManager[None]) -> None:
        with ending:
            try:
                with suppress(KilledError, asyncio.CancelledError, LoaderError):
                    self.call(request)
            finally:
                with suppress(KilledError):
                    self._process.end()

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def call(self, request: Coroutine[Any, Any, T]) -> T:
        """Return what a request of the service gives, and let the daemon come to rest. Raises what it raises."""
        try:
            return self._run(request)
        finally:
            if not self.writes.dying:
                self.rest()

    def rest(self) -> None:
        """Let the daemon do what the events since the last step ask for, and no more."""
        self._run(self._rest())

    def look(self) -> None:
        """Let the daemon look at the world, as it does from time to time."""
        self._run(self._process.reconciler.settled())
        self.rest()

    def one_pass(self) -> Coroutine[Any, Any, object]:
        """Return what waits for one pass over the world, which any event asks for."""
        return self._process.reconciler.settled()

    def until_rolled_back(self) -> None:
        """Return when a configuration whose time is over has been rolled back."""
        self._run(self.rolled_back())
        self.rest()

    async def rolled_back(self) -> None:
        """Wait until a configuration whose time is over has been rolled back, or the daemon is dead."""
        while (await self.service.status()).confirm_seconds:
            if any(task.done() for task in self._process.tasks):
                return
            await self._turn()
        with suppress(UsageError):
            await self.service.confirm()  # refused, once the roll-back has ended

    def miss_events(self) -> None:
        """Let the events since the last step be lost; the daemon learns only that some were."""
        self._run(self._turn())
        self._events.clear()
        self.look()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._process.ask(asyncio.wait_for(work, PATIENCE))

    async def _listen(self, rtnl: CountedRtnl) -> None:
        async for index in rtnl.changes():
            self._events.append(index)

    async def _turn(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for task in self._process.tasks:
            assert self.writes.dying or not task.done(), f"a part of the daemon ended: {task}"

    async def _rest(self) -> None:
        reconciler = self._process.reconciler
        await self._turn()
        for _ in range(MOST_PASSES):
            async with reconciler.writing:  # no pass is under way, or begins before the next turn of the loop
                if not self._events:
                    return
            self._events.clear()
            await reconciler.settled()
            self.passes += 1
            await self._turn()
        raise AssertionError(f"the daemon does not come to rest within {MOST_PASSES} passes")

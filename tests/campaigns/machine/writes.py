"""What the daemon writes to the kernel, counted at its two doors; one write may be made to fail, or to be the last."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ctypes import Structure
from itertools import count

from tests.campaigns.seams import Seams
from xdploaderd.errors import AttachError
from xdploaderd.info import TcFilter
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import BpfCmd, Ifindex


class KilledError(BaseException):
    """Stands for SIGKILL: nothing is written after it."""


class _Grave(Seams):
    """Lets all calls end in KilledError, of whatever kind they are, from the first on before which it is time."""

    def __init__(self, is_time: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_time = is_time
        self._over = False

    def check(self, kind: str) -> None:
        self._over = self._over or self._is_time(kind)
        if self._over:
            raise KilledError(kind)


class Writes:
    """What was written to the kernel, by the names of the calls."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._countdown = 0
        self._errno = 0
        self._check: Callable[[str], None] | None = None

    def fail(self, nth: int, number: int) -> None:
        """Let the nth write from now on fail with that errno; 0: none."""
        self._countdown, self._errno = nth, number

    @property
    def armed(self) -> bool:
        """Whether one is to fail, or has failed."""
        return self._errno != 0

    def ending_after(self, number: int) -> AbstractContextManager[None]:
        """Let the block make so many calls that read or write kernel and files, and none after that: KilledError."""
        calls = count()
        return self.ending_when(lambda: next(calls) >= number)

    def ending_when(self, is_time: Callable[[], bool]) -> AbstractContextManager[None]:
        """Let the block make such calls until it is time to end, which is asked before each of them."""
        return self.ending_before(lambda _: is_time())

    @contextmanager
    def ending_before(self, is_last: Callable[[str], bool]) -> Iterator[None]:
        """Let the block make such calls until one comes that is the last, told by its kind, and is not made."""
        grave = _Grave(is_last)
        with grave.installed():
            self._check = grave.check
            try:
                yield
            finally:
                self._check = None

    @property
    def dying(self) -> bool:
        """Whether that is under way."""
        return self._check is not None

    def note(self, name: str) -> None:
        """Count a write; raise OSError where it is the one that fails."""
        if self._check is not None:
            self._check(name)
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

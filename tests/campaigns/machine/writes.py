"""What the daemon writes to the kernel, counted at its two doors; one write may be made to fail, or to be the last."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import Structure

from tests.campaigns.seams import Seams
from xdploaderd.errors import AttachError
from xdploaderd.info import TcFilter
from xdploaderd.kernel.syscall import bpf_syscall
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import BpfCmd, Ifindex


class KilledError(BaseException):
    """Stands for SIGKILL: nothing is written after it."""


class _Grave(Seams):
    """Lets all calls but the first so many end in KilledError, of whatever kind they are."""

    def __init__(self, survived: int) -> None:
        super().__init__()
        self._left = survived

    def check(self, kind: str) -> None:
        self._left -= 1
        if self._left < 0:
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

    @contextmanager
    def ending_after(self, number: int) -> Iterator[None]:
        """Let the block make so many calls that read or write kernel and files, and none after that: KilledError."""
        grave = _Grave(number)
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

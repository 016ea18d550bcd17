"""One call that fails, everything else real: below bpf(2), at rtnetlink and at the file system (G3).

bpf(2) fails where libc is called, so that our own retries are under test; a change over rtnetlink as the kernel refuses
it, a question as sendto(2) fails; files as os and io raise.
"""

import ctypes
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xdploaderd.kernel import syscall
from xdploaderd.net import messages
from xdploaderd.net.channel import Channel
from xdploaderd.net.departures import Departures
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import BpfCmd

FILE_CALLS = ("mkdir", "rmdir", "rename", "replace", "unlink", "fsync", "chmod")
_ASKED = {messages.RTM_GETLINK: "RTM_GETLINK", messages.RTM_GETQDISC: "RTM_GETQDISC"}


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """The n-th call of a kind since the beginning of an operation, counted from 1."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


@dataclass(slots=True)
class Seams:
    """Counts the calls while `watched`; those of `failing` fail, once each, with the errno that belongs to them."""

    calls: list[Call] = field(default_factory=list)
    failing: Mapping[Call, int] = field(default_factory=dict)
    failed: list[Call] = field(default_factory=list)
    _watching: bool = False
    _counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def watched(self, failing: Mapping[Call, int] | None = None) -> Iterator[None]:
        """Count from here, and let calls fail."""
        self.calls, self.failing, self.failed = [], failing or {}, []
        self._counts.clear()
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def check(self, kind: str) -> None:
        """Raise OSError when this is the call to fail."""
        if not self._watching:
            return
        self._counts[kind] += 1
        call = Call(kind, self._counts[kind])
        self.calls.append(call)
        if call in self.failing:
            self.failed.append(call)
            raise OSError(self.failing[call], os.strerror(self.failing[call]))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have bpf(2) and the file calls of this process pass through here."""
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(syscall, "_libc", _Libc(self)))
            stack.enter_context(mock.patch.object(io, "open", self._open(io.open)))
            for name in FILE_CALLS:
                stack.enter_context(mock.patch.object(os, name, self._file_call(getattr(os, name))))
            yield

    def _file_call(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.check(f"file {real.__name__}")
            return real(*args, **named)

        return call

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            if "w" in mode and not isinstance(file, int):  # a descriptor is open already
                self.check("file open")
            return real(file, mode, *args, **named)

        return call

    async def rtnl(self) -> Rtnl:
        """Return netlink sockets whose calls pass through here."""
        requests = AsyncIPRoute(ext_ack=True, strict_check=True)
        await requests.setup_endpoint()
        return Rtnl(_Requests(requests, self), _Channel(self), Departures())


class _Libc:
    """libc, but for bpf(2)."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams
        self._real: Any = syscall._libc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def syscall(self, number: int, command: int, attr: object, size: int) -> int:
        try:
            self._seams.check(f"bpf {BpfCmd(command).name}")
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        result: int = self._real.syscall(number, command, attr, size)
        return result


class _Requests:
    """The changes that AsyncIPRoute makes."""

    def __init__(self, real: AsyncIPRoute, seams: Seams) -> None:
        self._real = real
        self._seams = seams

    def _check(self, kind: str) -> None:
        try:
            self._seams.check(kind)
        except OSError as error:
            raise NetlinkError(error.errno, error.strerror) from None

    async def link(self, command: str, **named: Any) -> Any:
        self._check(f"rtnl link-{command}")
        return await self._real.link(command, **named)

    async def tc(self, command: str, *args: Any, **named: Any) -> Any:
        self._check(f"rtnl {command}" if "filter" in command else f"rtnl clsact-{command}")
        return await self._real.tc(command, *args, **named)

    def close(self) -> None:
        self._real.close()


class _Channel(Channel):
    """The questions to rtnetlink."""

    def __init__(self, seams: Seams) -> None:
        super().__init__()
        self._seams = seams

    async def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._seams.check(f"ask {_ASKED.get(kind, 'RTM_GETTFILTER')}")
        await super()._send(kind, flags, payload)

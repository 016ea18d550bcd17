"""What the hooks ask of rtnetlink and of bpf(2): the seams that net.rtnl and kernel.bpf fill, and tests replace."""

from collections.abc import AsyncGenerator
from typing import Final, Protocol, TypeVar

from xdploaderd.errors import LoaderError
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface, ProgInfo, TcFilter
from xdploaderd.uapi.bpf import Ifindex, ProgId

NOTHING: Final = -1  # as program fd: none; as expected fd: the hook must be empty
RESYNC: Final = Ifindex(0)  # in changes() and departed(): events were lost, or may have been: read everything anew


class Netlink(Protocol):
    """The requests to rtnetlink; see net.rtnl.Rtnl for what each does and raises."""

    async def interfaces(self) -> tuple[Interface, ...]: ...
    async def interface(self, name: str) -> Interface: ...
    def driver(self, name: str) -> str: ...
    async def interface_at(self, index: Ifindex) -> Interface | None: ...
    async def set_xdp(self, index: Ifindex, fd: int, flags: int, expected_fd: int) -> None: ...
    async def qdisc_kind(self, index: Ifindex) -> str: ...
    async def ensure_clsact(self, index: Ifindex) -> bool: ...
    async def delete_clsact(self, index: Ifindex) -> None: ...
    async def filters(self, index: Ifindex, hook: Hook) -> tuple[TcFilter, ...]: ...
    async def has_filters(self, index: Ifindex) -> bool: ...
    async def add_filter(self, wanted: TcFilter, fd: int) -> None: ...
    async def replace_filter(self, wanted: TcFilter, fd: int) -> None: ...
    async def delete_filter(self, wanted: TcFilter) -> None: ...
    def departed(self) -> frozenset[Ifindex]: ...
    def changes(self) -> AsyncGenerator[Ifindex, None]: ...


class ProgramFd(Protocol):
    """A loaded program's descriptor; whoever made it closes it."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


AnyFd = TypeVar("AnyFd", bound=ProgramFd)


class Programs(Protocol[AnyFd]):
    """What bpf(2) tells of programs; kernel.bpf.Bpf is one."""

    def prog_by_id(self, prog_id: ProgId, /) -> AnyFd: ...
    def prog_info(self, fd: AnyFd, /) -> ProgInfo: ...


def prog_name(programs: Programs[AnyFd], prog_id: ProgId | None) -> str:
    """Return a program's name; empty when it has none, is gone, or CAP_SYS_ADMIN is missing to look at it."""
    if not prog_id:
        return ""
    try:
        fd = programs.prog_by_id(prog_id)
    except LoaderError:
        return ""
    try:
        return programs.prog_info(fd).name
    except LoaderError:
        return ""
    finally:
        fd.close()


def describe_prog(prog_id: ProgId | None, name: str) -> str:
    """Return the words for a program in a message, such as: prog 12 'xdp_pass'."""
    if not prog_id:
        return "classic BPF bytecode"
    return f"prog {prog_id} '{name}'" if name else f"prog {prog_id}"

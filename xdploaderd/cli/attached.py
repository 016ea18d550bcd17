"""What is attached to XDP and to clsact of this network namespace, by whomever, and what bpf(2) tells of it."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from xdploaderd.errors import LoaderError, PinError
from xdploaderd.hooks import ETH_P_ALL, AttachKind, Hook
from xdploaderd.info import Interface, ProgInfo, TcFilter
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.load.pins import open_pin
from xdploaderd.net.links import chain_of
from xdploaderd.net.rtnl import Rtnl
from xdploaderd.uapi.bpf import LinkId, ProgId

DISPATCHER: Final = "xdp_dispatcher"  # libxdp's name for it
DISPATCHER_PINS: Final = PurePosixPath("/sys/fs/bpf/xdp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """One program on one hook; the numbers of a tc filter are 0 for XDP. `info` None: it could not be looked at.

    `tcx` says how it is attached where that is not a filter.
    """

    interface: str
    ifindex: int
    hook: Hook
    prog_id: int
    info: ProgInfo | None
    mode: str = ""
    priority: int = 0
    handle: int = 0
    protocol: int = ETH_P_ALL
    classid: int = 0
    filter_name: str = ""
    direct_action: bool = True
    tcx: str = ""

    def entry(self) -> dict[str, str | int]:
        """Return the keys of an entry that say this place."""
        place: dict[str, str | int] = {"interface": self.interface, "hook": self.hook.value}
        if self.hook is Hook.XDP:
            return {**place, "mode": self.mode}
        if self.tcx:
            return {**place, "attach": AttachKind.LINK.value}
        numbers = {"priority": self.priority, "handle": self.handle, "protocol": self.protocol}
        return {**place, **numbers, **({"classid": self.classid} if self.classid else {})}


async def find_attached(interface: str, hook: str, bpf: Bpf) -> tuple[Attached, ...]:
    """Return what is attached, to one interface and hook where they are given. Raises NoSuchInterfaceError."""
    async with await Rtnl.open() as rtnl:
        interfaces = [await rtnl.interface(interface)] if interface else await rtnl.interfaces()
        hooks = [Hook(hook)] if hook else list(Hook)
        return tuple([found async for one in _each(interfaces) async for found in _on(rtnl, one, hooks, bpf)])


async def _each(interfaces: Sequence[Interface]) -> AsyncIterator[Interface]:
    for interface in interfaces:
        yield interface


async def _on(rtnl: Rtnl, interface: Interface, hooks: Sequence[Hook], bpf: Bpf) -> AsyncIterator[Attached]:
    for hook in hooks:
        if hook is Hook.XDP:
            for mode, prog_id in interface.xdp:
                yield _program(interface, hook, prog_id, bpf, mode=mode.value)
            continue
        for item in await rtnl.filters(interface.index, hook):
            yield _filter(interface, item, bpf)
        chain = chain_of(bpf, interface.index, hook)
        for prog_id, link_id in zip(chain.progs, chain.links, strict=True):
            how = "a TCX link" if link_id else "TCX without a link"
            yield _program(interface, hook, prog_id, bpf, tcx=how)


def _program(interface: Interface, hook: Hook, prog_id: ProgId, bpf: Bpf, *, mode: str = "", tcx: str = "") -> Attached:
    return Attached(
        interface=interface.name,
        ifindex=interface.index,
        hook=hook,
        prog_id=prog_id,
        info=_info(bpf, prog_id),
        mode=mode,
        tcx=tcx,
    )


def _filter(interface: Interface, item: TcFilter, bpf: Bpf) -> Attached:
    return Attached(
        interface=interface.name,
        ifindex=interface.index,
        hook=item.hook,
        prog_id=item.prog_id or 0,
        info=_info(bpf, item.prog_id) if item.prog_id else None,
        priority=item.priority,
        handle=item.handle,
        protocol=item.protocol,
        classid=item.classid,
        filter_name=item.name,
        direct_action=item.direct_action,
    )


def _info(bpf: Bpf, prog_id: ProgId) -> ProgInfo | None:
    try:
        with bpf.prog_by_id(prog_id) as prog:
            return bpf.prog_info(prog)
    except LoaderError:
        return None


def has_link(found: Attached, bpf: Bpf) -> bool:
    """Return whether an XDP program is attached by a bpf_link rather than by netlink."""
    try:
        return any(_is_link_of(found, link_id, bpf) for link_id in bpf.link_ids())
    except LoaderError:
        return False


def _is_link_of(found: Attached, link_id: LinkId, bpf: Bpf) -> bool:
    try:
        with bpf.link_by_id(link_id) as link:
            info = bpf.link_info(link)
    except LoaderError:  # it went meanwhile
        return False
    return (info.prog_id, info.ifindex) == (found.prog_id, found.ifindex)


def loaded_at(info: ProgInfo) -> str:
    """Return when a program was loaded, in local time: the kernel counts from boot."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(boot + info.load_time_ns / 1e9))


def dispatched_programs(found: Attached, bpf: Bpf) -> Iterator[str]:
    """Yield the programs behind a dispatcher of libxdp, as it pins them: dispatch-IFINDEX-ID/progN-prog."""
    directory = DISPATCHER_PINS / f"dispatch-{found.ifindex}-{found.prog_id}"
    try:
        entries = [entry.name for entry in list_dir(directory) if entry.name.endswith("-prog")]
        for name in entries:
            prog = open_pin(bpf, directory / name, ObjectKind.PROG)
            if prog is not None:
                with prog:
                    info = bpf.prog_info(prog)
                    yield f"program {info.id} '{info.name}'"
    except PinError:
        return

"""Interfaces, XDP slots, clsact and its filters over rtnetlink; the sole user of pyroute2.

Changes go through pyroute2; what is read comes by net.channel and net.events, since pyroute2 decodes neither quickly
nor the program id of a filter. Mirrors include/uapi/linux/if_link.h and pkt_cls.h. A change is done inside sendto(2):
an XDP change on a real device holds the event loop for the kernel's grace period of about 10 to 20 ms.
"""

import difflib
import errno
import os
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, Self

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xdploaderd.errors import AttachError, NoSuchInterfaceError, error_context
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.net import messages
from xdploaderd.net.channel import Channel
from xdploaderd.net.departures import Departures
from xdploaderd.net.events import interface_events
from xdploaderd.uapi.bpf import Ifindex

CLSACT = "clsact"
_TCA_BPF_FLAG_ACT_DIRECT = 0x1
_GONE = (errno.ENODEV, errno.EINVAL, errno.ENOENT)  # how the kernel names an interface or qdisc that is not there


class Rtnl:
    """The netlink sockets of one network namespace: that of the thread which opens them. Close it when done."""

    def __init__(self, requests: AsyncIPRoute, channel: Channel, departures: Departures) -> None:
        self._requests = requests
        self._channel = channel
        self._departures = departures

    @classmethod
    async def open(cls) -> Self:
        """Open the sockets; needs a running event loop, and CAP_NET_ADMIN only for changes."""
        requests = AsyncIPRoute(ext_ack=True, strict_check=True)
        try:
            await requests.setup_endpoint()
            departures = Departures()
            return cls(requests, Channel(), departures)
        except BaseException:
            requests.close()
            raise

    async def close(self) -> None:
        """Close the sockets; a running changes() ends by being closed itself."""
        self._requests.close()
        self._channel.close()
        self._departures.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def interfaces(self) -> tuple[Interface, ...]:
        """Return every interface of the namespace with its XDP programs."""
        with error_context("interfaces"):
            links = await self._channel.dump(messages.RTM_GETLINK, messages.pack_link_dump())
        return tuple(messages.parse_link(link.payload) for link in links if link.type == messages.RTM_NEWLINK)

    def driver(self, name: str) -> str:
        """Return the driver of an interface as `ethtool -i` tells it; '' where the interface is gone or tells none."""
        return self._channel.driver(name)

    async def interface(self, name: str) -> Interface:
        """Return the interface of that name or alternative name; raises NoSuchInterfaceError with names like it."""
        try:
            answer = await self._channel.get(messages.RTM_GETLINK, messages.pack_link_get(name=name))
        except AttachError as error:
            raise await self._no_such_interface(name) from error
        if answer is None:
            raise await self._no_such_interface(name)
        return messages.parse_link(answer.payload)

    async def _no_such_interface(self, name: str) -> NoSuchInterfaceError:
        known = [n for interface in await self.interfaces() for n in (interface.name, *interface.altnames)]
        near = difflib.get_close_matches(name, known, n=3)
        hint = "; near: " + ", ".join(f"'{n}'" for n in near) if near else ""
        return NoSuchInterfaceError(f"no interface '{name}'{hint}", fields={"interface": name, "near": near})

    async def interface_at(self, index: Ifindex) -> Interface | None:
        """Return the interface of that index; None when it is gone."""
        try:
            answer = await self._channel.get(messages.RTM_GETLINK, messages.pack_link_get(index=index))
        except AttachError as error:
            if error.errno in _GONE:
                return None
            raise
        return messages.parse_link(answer.payload) if answer else None

    async def set_xdp(self, index: Ifindex, fd: int, flags: int, expected_fd: int) -> None:
        """Put the program `fd` into the slot that `flags` name, provided that `expected_fd` is there now.

        Either fd may be NOTHING. XDP_FLAGS_REPLACE goes with every change: without it the kernel ignores the expected
        program. Raises AttachError with errno and the kernel's text, NoSuchInterfaceError when the interface is gone.
        """
        flags |= messages.XDP_FLAGS_REPLACE
        attrs = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", flags), ("IFLA_XDP_EXPECTED_FD", expected_fd)]
        await _change("xdp", index, self._requests.link("set", index=index, xdp={"attrs": attrs}))

    async def qdisc_kind(self, index: Ifindex) -> str:
        """Return what holds the place of clsact: its kind ("clsact", "ingress"), empty for nothing."""
        try:
            answer = await self._channel.get(messages.RTM_GETQDISC, messages.pack_qdisc_get(index))
        except AttachError as error:
            if error.errno in _GONE:
                return ""
            raise
        return messages.parse_qdisc_kind(answer.payload) if answer else ""

    async def ensure_clsact(self, index: Ifindex) -> bool:
        """Make clsact where there is none and return True; raises AttachError where another qdisc has its place."""
        try:
            await _change("clsact", index, self._requests.tc("add", CLSACT, index=index))
        except AttachError as error:
            if error.errno != errno.EEXIST:
                raise
            kind = await self.qdisc_kind(index)
            if kind != CLSACT:
                text = f"qdisc '{kind}' has the place of clsact: remove it first (tc qdisc del dev DEVICE {kind})"
                raise AttachError(text, errno=error.errno, extack=error.extack, fields={"qdisc": kind}) from error
            return False
        return True

    async def delete_clsact(self, index: Ifindex) -> None:
        """Remove clsact with every filter on it, whoever made them."""
        await _change("clsact", index, self._requests.tc("del", CLSACT, index=index))

    async def filters(self, index: Ifindex, hook: Hook) -> tuple[TcFilter, ...]:
        """Return the cls_bpf filters of one direction in their order; empty without clsact or interface."""
        return tuple(entry.bpf for entry in await self._entries(index, hook) if entry.bpf)

    async def has_filters(self, index: Ifindex) -> bool:
        """Tell whether a filter of any kind is on clsact, in either direction."""
        return any([await self._entries(index, hook) for hook in messages.HOOK_PARENTS])

    async def _entries(self, index: Ifindex, hook: Hook) -> list[messages.FilterEntry]:
        try:
            with error_context(f"filters of interface {index}"):
                answers = await self._channel.dump(messages.RTM_GETTFILTER, messages.pack_filter_dump(index, hook))
        except AttachError as error:
            if error.errno in _GONE:
                return []
            raise
        entries = [messages.parse_filter(a.payload, hook) for a in answers if a.type == messages.RTM_NEWTFILTER]
        return [entry for entry in entries if entry.handle]

    async def add_filter(self, wanted: TcFilter, fd: int) -> None:
        """Add a filter with the program `fd`; the place (priority and handle) must be free."""
        await self._set_filter("add-filter", wanted, fd)

    async def replace_filter(self, wanted: TcFilter, fd: int) -> None:
        """Put the program `fd` into the filter at that priority and handle, in one step; made when it is not there."""
        await self._set_filter("replace-filter", wanted, fd)

    async def _set_filter(self, command: str, wanted: TcFilter, fd: int) -> None:
        if not wanted.priority or not wanted.handle:
            raise ValueError("a filter needs priority and handle: with 0 the kernel stacks another one")
        flags = _TCA_BPF_FLAG_ACT_DIRECT if wanted.direct_action else 0
        program: dict[str, Any] = {"fd": fd, "name": wanted.name, "flags": flags}
        if wanted.classid:
            program["classid"] = wanted.classid
        await self._change_filter(command, wanted, program)

    async def delete_filter(self, wanted: TcFilter) -> None:
        """Remove the filter at that priority and handle."""
        await self._change_filter("del-filter", wanted, {})

    async def _change_filter(self, command: str, wanted: TcFilter, program: Mapping[str, Any]) -> None:
        request = self._requests.tc(
            command,
            "bpf",
            wanted.ifindex,
            wanted.handle,
            parent=messages.HOOK_PARENTS[wanted.hook],
            prio=wanted.priority,
            protocol=wanted.protocol,
            **program,
        )
        await _change(f"{wanted.hook} filter", wanted.ifindex, request)

    def departed(self) -> frozenset[Ifindex]:
        """Return the interfaces that went since the last call, whether or not they are back; see net.departures."""
        return self._departures.take()

    def changes(self) -> AsyncGenerator[Ifindex, None]:
        """Yield the index of each interface that appears, changes or goes, or whose filters change; see net.events."""
        return interface_events()


async def _change(what: str, index: Ifindex, request: Awaitable[Any]) -> None:
    try:
        await request
    except (OSError, NetlinkError) as error:
        number = _errno_of(error)
        text = str(error.args[1]) if len(error.args) > 1 else os.strerror(number)
        extack = "" if text == os.strerror(number) else text
        if number == errno.ENODEV:
            message = f"interface with index {index} is gone"
            raise NoSuchInterfaceError(message, errno=number, extack=extack) from error
        raise AttachError(f"{what} refused by the kernel: {text}", errno=number, extack=extack) from error


def _errno_of(error: OSError | NetlinkError) -> int:
    code = error.errno if isinstance(error, OSError) else error.code
    return int(code or errno.EIO)

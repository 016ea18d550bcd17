"""Rtnetlink in memory, with the rules that tests/kernel/test_net_*.py prove on the kernel and no others."""

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from xdploaderd.errors import AttachError, NoSuchInterfaceError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Interface, TcFilter
from xdploaderd.net.door import NOTHING, RESYNC
from xdploaderd.uapi.bpf import Ifindex, ProgId

_FLAG_MODES = {0x4: XdpMode.NATIVE, 0x2: XdpMode.SKB, 0x8: XdpMode.OFFLOAD, 0: XdpMode.NATIVE}
_EXCLUSIVE = {XdpMode.NATIVE: XdpMode.SKB, XdpMode.SKB: XdpMode.NATIVE, XdpMode.OFFLOAD: XdpMode.OFFLOAD}


class FakeRtnl:
    """A net.door.Netlink. `prog_id_of` maps a descriptor's number to the program's id; by default they are the same."""

    def __init__(self, prog_id_of: Callable[[int], int] = int) -> None:
        self.prog_id_of = prog_id_of
        self.links: dict[Ifindex, Interface] = {}
        self.xdp_links: set[Ifindex] = set()  # interfaces whose XDP program is held by a bpf_link
        self.qdiscs: dict[Ifindex, str] = {}
        self.tc: dict[tuple[Ifindex, Hook, int, int], TcFilter] = {}
        self.writes: list[str] = []  # every change asked for, also a refused one
        self.fail_next: AttachError | None = None
        self._departed: set[Ifindex] = set()
        self._queues: list[asyncio.Queue[Ifindex]] = []
        self._next_index = 2

    # What the test does from outside

    def add_interface(self, name: str, *, kind: str = "veth") -> Interface:
        """Make an interface appear; its index is never one that was used before."""
        interface = Interface(index=Ifindex(self._next_index), name=name, mtu=1500, up=True, kind=kind)
        self._next_index += 1
        self.links[interface.index] = interface
        self._notify(interface.index)
        return interface

    def bring_back(self, interface: Interface) -> None:
        """Make an interface appear that has been there before, under the index it had."""
        self.links[interface.index] = interface
        self._notify(interface.index)

    def remove_interface(self, name: str) -> None:
        """Make an interface go, with all that is on it."""
        index = self.named(name).index
        del self.links[index]
        self._departed.add(index)
        self.qdiscs.pop(index, None)
        self.xdp_links.discard(index)
        self.tc = {key: value for key, value in self.tc.items() if key[0] != index}
        self._notify(index)

    def named(self, name: str) -> Interface:
        """Return the interface as it is now."""
        return next(link for link in self.links.values() if link.name == name)

    def put_xdp(self, name: str, prog_id: int, mode: XdpMode = XdpMode.NATIVE) -> None:
        """Let another tool attach (0: detach) an XDP program."""
        link = self.named(name)
        self.links[link.index] = replace(link, xdp=((mode, ProgId(prog_id)),) if prog_id else ())
        self._notify(link.index)

    def _notify(self, index: Ifindex) -> None:
        for queue in self._queues:
            queue.put_nowait(index)

    # net.door.Netlink

    async def interfaces(self) -> tuple[Interface, ...]:
        return tuple(self.links.values())

    async def interface(self, name: str) -> Interface:
        for link in self.links.values():
            if name in (link.name, *link.altnames):
                return link
        raise NoSuchInterfaceError(f"no interface '{name}'", fields={"interface": name, "near": []})

    async def interface_at(self, index: Ifindex) -> Interface | None:
        return self.links.get(index)

    async def set_xdp(self, index: Ifindex, fd: int, flags: int, expected_fd: int) -> None:
        self._write(f"set_xdp {index}")
        link = self._link(index)
        mode = _FLAG_MODES[flags & 0xE]
        current = dict(link.xdp).get(mode)
        if index in self.xdp_links:
            raise _refusal(errno.EBUSY, "Can't replace active BPF XDP link")
        if current != (None if expected_fd == NOTHING else self.prog_id_of(expected_fd)):
            raise _refusal(errno.EEXIST, "Active program does not match expected")
        if fd != NOTHING and _EXCLUSIVE[mode] != mode and _EXCLUSIVE[mode] in dict(link.xdp):
            raise _refusal(errno.EEXIST, "Native and generic XDP can't be active at the same time")
        others = tuple(slot for slot in link.xdp if slot[0] is not mode)
        new = () if fd == NOTHING else ((mode, ProgId(self.prog_id_of(fd))),)
        self.links[index] = replace(link, xdp=(*others, *new))
        self._notify(index)

    def driver(self, name: str) -> str:
        return next((link.driver for link in self.links.values() if link.name == name), "")

    async def qdisc_kind(self, index: Ifindex) -> str:
        return self.qdiscs.get(index, "")

    async def ensure_clsact(self, index: Ifindex) -> bool:
        self._write(f"ensure_clsact {index}")
        self._link(index)
        if (kind := self.qdiscs.get(index, "clsact")) != "clsact":
            raise AttachError(f"qdisc '{kind}' has the place of clsact", errno=errno.EEXIST, fields={"qdisc": kind})
        made = index not in self.qdiscs
        self.qdiscs[index] = "clsact"
        return made

    async def delete_clsact(self, index: Ifindex) -> None:
        self._write(f"delete_clsact {index}")
        del self.qdiscs[index]
        self.tc = {key: value for key, value in self.tc.items() if key[0] != index}

    async def filters(self, index: Ifindex, hook: Hook) -> tuple[TcFilter, ...]:
        return tuple(self.tc[key] for key in sorted(self.tc) if key[:2] == (index, hook))

    async def has_filters(self, index: Ifindex) -> bool:
        return any(key[0] == index for key in self.tc)

    async def add_filter(self, wanted: TcFilter, fd: int) -> None:
        self._write(f"add_filter {wanted.ifindex}")
        if _key(wanted) in self.tc:
            raise _refusal(errno.EEXIST, "Filter already exists")
        self._set_filter(wanted, fd)

    async def replace_filter(self, wanted: TcFilter, fd: int) -> None:
        self._write(f"replace_filter {wanted.ifindex}")
        self._set_filter(wanted, fd)

    async def delete_filter(self, wanted: TcFilter) -> None:
        self._write(f"delete_filter {wanted.ifindex}")
        if self.tc.pop(_key(wanted), None) is None:
            raise _refusal(errno.ENOENT, "")

    def departed(self) -> frozenset[Ifindex]:
        gone, self._departed = frozenset(self._departed), set()
        return gone

    async def changes(self) -> AsyncGenerator[Ifindex, None]:
        queue: asyncio.Queue[Ifindex] = asyncio.Queue()
        self._queues.append(queue)
        try:
            yield RESYNC
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    async def close(self) -> None:
        """Nothing is open."""

    def _set_filter(self, wanted: TcFilter, fd: int) -> None:
        self._link(wanted.ifindex)
        self.tc[_key(wanted)] = replace(wanted, prog_id=ProgId(self.prog_id_of(fd)), direct_action=True)

    def _link(self, index: Ifindex) -> Interface:
        if index not in self.links:
            raise NoSuchInterfaceError(f"interface with index {index} is gone", errno=errno.ENODEV)
        return self.links[index]

    def _write(self, what: str) -> None:
        self.writes.append(what)
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error


def _key(place: TcFilter) -> tuple[Ifindex, Hook, int, int]:
    return place.ifindex, place.hook, place.priority, place.handle


def _refusal(number: int, text: str) -> AttachError:
    return AttachError(f"refused by the kernel: {text}", errno=number, extack=text)

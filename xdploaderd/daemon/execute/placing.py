"""Put a program on a place, change it there, take it off: XDP slot, tc filter or link, told apart once, here."""

from dataclasses import replace

from xdploaderd.daemon.execute.climbing import climb_down
from xdploaderd.daemon.execute.link_placing import LinkPlacer
from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.world import Occupant, Place
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.net.door import Netlink
from xdploaderd.net.tc import attach_tc, detach_tc, filter_at, remove_empty_clsact, replace_tc
from xdploaderd.net.xdp import attach_xdp, detach_xdp, replace_xdp
from xdploaderd.uapi.bpf import Ifindex, ProgId


class Placer:
    """The hooks of one network namespace. Raises HookBusyError, NoSuchInterfaceError, AttachError."""

    def __init__(self, rtnl: Netlink, bpf: Bpf, links: LinkPlacer) -> None:
        self._rtnl = rtnl
        self._bpf = bpf
        self._links = links

    async def put(self, place: Place, prog: Fd, *, label: str) -> Put:
        """Attach to a free place, XDP in the best mode that the driver takes. `label` names a filter for others."""

        async def attach(at: Place) -> None:
            if at.kind is AttachKind.LINK:
                await self._links.put(at, prog)
            else:
                await attach_xdp(self._rtnl, self._bpf, _interface(at), prog, at.mode)

        if place.hook is Hook.XDP or place.kind is AttachKind.LINK:
            return await climb_down(place, attach)
        _, made = await attach_tc(self._rtnl, self._bpf, _filter(place, label), prog)
        return Put(made_clsact=made)

    async def needs_clsact(self, place: Place) -> bool:
        """Whether put() would make clsact first."""
        is_filter = place.hook is not Hook.XDP and place.kind is AttachKind.NETLINK
        return is_filter and not await self._rtnl.qdisc_kind(place.ifindex)

    async def drop_clsact(self, ifindex: Ifindex) -> None:
        """Remove clsact unless a filter is on it."""
        await remove_empty_clsact(self._rtnl, ifindex)

    async def swap(self, current: Occupant, wanted: Place, prog: Fd, *, expected: Fd | None, label: str) -> None:
        """Put `prog` where `current` is, in one step; `expected` is what is there, None: whatever is there goes.

        A filter becomes as `wanted` has it; an XDP program stays in its mode.
        """
        if wanted.kind is AttachKind.LINK:
            self._links.swap(current, wanted, prog, expected=expected)
            return
        place = current.place if wanted.hook is Hook.XDP else wanted
        match place.hook, expected:
            case Hook.XDP, None:
                await attach_xdp(self._rtnl, self._bpf, _interface(place), prog, place.mode, force=True)
            case Hook.XDP, Fd():
                await replace_xdp(self._rtnl, self._bpf, _interface(place), prog, place.mode, expected=expected)
            case _, None:
                await attach_tc(self._rtnl, self._bpf, _filter(place, label), prog, force=True)
            case _, Fd():
                expected_id = self._bpf.prog_info(expected).id
                await replace_tc(self._rtnl, self._bpf, _filter(place, label), prog, expected=expected_id)

    async def put_back(self, there: Occupant | None, old: Occupant, prog: Fd, *, expected: Fd | None) -> None:
        """Put a program of somebody else where it was, as it was; `there` is our program `expected`, None: nothing.

        In one step where the kernel can; else ours is taken off first, and comes back when the other is refused.
        """
        if there is None or expected is None:
            await self._attach_old(old, prog)
        elif not _takes_the_place(there.place, old.place):
            await self.take_off(there.place, expected)
            try:
                await self._attach_old(old, prog)
            except LoaderError:
                await self.put(there.place, expected, label=there.name)
                raise
        elif old.filter is None:
            interface, mode = _interface(old.place), old.place.mode
            await replace_xdp(self._rtnl, self._bpf, interface, prog, mode, expected=expected)
        else:
            ours = self._bpf.prog_info(expected).id
            await replace_tc(self._rtnl, self._bpf, _as_it_was(old), prog, expected=ours)

    async def _attach_old(self, old: Occupant, prog: Fd) -> None:
        if old.filter is None:
            await attach_xdp(self._rtnl, self._bpf, _interface(old.place), prog, old.place.mode)
        else:
            await attach_tc(self._rtnl, self._bpf, _as_it_was(old), prog)

    async def take_off(self, place: Place, expected: Fd, *, remove_clsact: bool = False) -> None:
        """Detach `expected`; nothing to do where it, or its interface, is already gone."""
        if place.kind is AttachKind.LINK:
            self._links.take_off(place, expected)
            return
        if place.hook is Hook.XDP:
            await detach_xdp(self._rtnl, self._bpf, _interface(place), place.mode, expected=expected)
            return
        expected_id: ProgId = self._bpf.prog_info(expected).id
        await detach_tc(self._rtnl, self._bpf, _filter(place), expected=expected_id, remove_clsact=remove_clsact)

    def hand_over(self, place: Place, name: str) -> None:
        """Make the link at a place that of the entry `name`."""
        self._links.hand_over(place, name)


def _takes_the_place(there: Place, old: Place) -> bool:
    """Whether the kernel makes of a program at one place one at the other in one step."""
    alike = (there.kind, there.protocol) == (AttachKind.NETLINK, old.protocol)
    return alike and (old.hook is not Hook.XDP or there.mode is old.mode)


def _as_it_was(old: Occupant) -> TcFilter:
    if old.filter is None:
        raise AssertionError("an occupant of a tc hook has its filter")
    return replace(old.filter, ifindex=old.place.ifindex)


def _interface(place: Place) -> Interface:
    return Interface(index=place.ifindex, name=place.ifname)


def _filter(place: Place, label: str = "") -> TcFilter:
    found = filter_at(
        _interface(place),
        place.hook,
        priority=place.priority,
        handle=place.handle,
        protocol=place.protocol,
        name=label,
    )
    return replace(found, classid=place.classid)

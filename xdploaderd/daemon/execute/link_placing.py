"""Put a program on a hook by a pinned bpf_link, change it there by LINK_UPDATE, take it off."""

from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import NoReturn

from xdploaderd.config.interface_match import instance_name
from xdploaderd.daemon.pins.link_pins import LinkPins
from xdploaderd.daemon.plan.world import Occupant, Place
from xdploaderd.errors import LinkGoneError, LoaderError
from xdploaderd.hooks import Hook
from xdploaderd.info import Chain, Interface
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.net.door import Netlink, prog_name
from xdploaderd.net.links import Order, attach_tcx_link, attach_xdp_link, detach_link, update_link
from xdploaderd.uapi.bpf import ProgId


class LinkPlacer:
    """The places of kind LINK. Raises what net.links does, PinError, KernelError."""

    def __init__(self, rtnl: Netlink, bpf: Bpf, pins: LinkPins) -> None:
        self._rtnl = rtnl
        self._bpf = bpf
        self._pins = pins

    async def put(self, place: Place, prog: Fd) -> None:
        """Make a link and pin it; without the pin it goes again."""
        with await self._create(place, prog) as link:
            self._pins.pin(place.slot, link)

    async def _create(self, place: Place, prog: Fd) -> Fd:
        interface = Interface(index=place.ifindex, name=place.ifname)
        if place.hook is Hook.XDP:
            return await attach_xdp_link(self._rtnl, self._bpf, interface, prog, place.mode)

        order = Order(place.order, partial(self._anchor, place))
        return await attach_tcx_link(self._rtnl, self._bpf, interface, place.hook, prog, order)

    def _anchor(self, place: Place, name: str, chain: Chain) -> ProgId | None:
        """Return the program that a name in `order` means: an id, an entry's program, or a program's own name."""
        if name.isdecimal():
            return ProgId(int(name))
        for info in (*self._pins.infos(name), *self._pins.infos(instance_name(name, place.ifname))):
            if info.ifindex == place.ifindex and info.prog_id in chain.progs:
                return info.prog_id
        return next((number for number in chain.progs if prog_name(self._bpf, number) == name), None)

    def swap(self, current: Occupant, wanted: Place, prog: Fd, *, expected: Fd | None) -> None:
        """Put `prog` behind the link at `current`, which becomes that of the entry `wanted` is for."""
        place = current.place
        with self._open(place) as link, self._expected(current, expected) as old:
            update_link(self._bpf, link, prog, expected=old, place=str(place))
        if place.slot != wanted.slot:
            self.hand_over(place, wanted.slot)

    def hand_over(self, place: Place, name: str) -> None:
        """Make the link at a place that of the entry `name`."""
        self._pins.move(place.slot, name, place.ifindex, place.hook)

    def take_off(self, place: Place, expected: Fd) -> None:
        """Detach `expected`, remove link and pin; nothing to do where the link is already gone."""
        link = self._pins.open(place.slot, place.ifindex, place.hook)
        if link is None:
            return
        with link:
            detach_link(self._bpf, link, expected=expected, place=str(place))
        with suppress(LoaderError):  # the program is off; the next look at the pins finds the dead link
            self._pins.sweep(place.slot)

    def _open(self, place: Place) -> Fd:
        link = self._pins.open(place.slot, place.ifindex, place.hook)
        if link is None:
            _raise_gone(place)
        return link

    def _expected(self, current: Occupant, expected: Fd | None) -> AbstractContextManager[Fd]:
        """Return the program that is to be replaced: the caller's own, or somebody else's, closed by the block."""
        if current.prog_id is None:
            _raise_gone(current.place)
        return nullcontext(expected) if expected is not None else self._bpf.prog_by_id(current.prog_id)


def _raise_gone(place: Place) -> NoReturn:
    raise LinkGoneError(f"the link to {place} is gone, wanted its program to be replaced")

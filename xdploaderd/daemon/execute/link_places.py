"""Where the pinned links are: their places told apart from those of netlink, and TCX, which netlink does not show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from xdploaderd.daemon.pins.link_pins import hook_of
from xdploaderd.daemon.plan.world import Occupant, Owned, Place
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.info import Interface
from xdploaderd.uapi.bpf import Ifindex, ProgId


def with_links(xdp: Iterable[Occupant], owned: Sequence[Owned], interfaces: Sequence[Interface]) -> Iterator[Occupant]:
    """Yield the programs on XDP slots, those of our links as such, then the programs of our TCX links."""
    slots: dict[tuple[Ifindex, ProgId], str] = {}
    tcx: list[tuple[str, Hook, Ifindex, ProgId]] = []
    for one in owned:
        for link in one.links:
            hook = hook_of(link)
            if hook is Hook.XDP:
                slots[link.ifindex, link.prog_id] = one.name
            elif hook is not None:
                tcx.append((one.name, hook, link.ifindex, link.prog_id))
    for occupant in xdp:
        yield _by_link(occupant, slots)
    names = {interface.index: interface.name for interface in interfaces}
    for name, hook, ifindex, prog_id in tcx:
        if ifindex in names:
            place = Place(ifindex=ifindex, ifname=names[ifindex], hook=hook, kind=AttachKind.LINK, slot=name)
            yield Occupant(place, prog_id)


def _by_link(occupant: Occupant, slots: Mapping[tuple[Ifindex, ProgId], str]) -> Occupant:
    slot = slots.get((occupant.place.ifindex, occupant.prog_id)) if occupant.prog_id is not None else None
    if slot is None:
        return occupant
    return replace(occupant, place=replace(occupant.place, kind=AttachKind.LINK, slot=slot))

"""Programs of others come back to their places when what took these is rolled back: in one step for ours, or after it.

The caller holds the loop's lock, and what is wanted is by then what was wanted before; nothing of ours is wanted there.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor as Pool
from contextlib import ExitStack
from dataclasses import replace

from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.loop.seams import Snapshots
from xdploaderd.daemon.pins.displaced import Displaced, Held
from xdploaderd.daemon.plan.matching import resolve
from xdploaderd.daemon.plan.world import Observed, Place, Wanted, tc_occupant, wanted_place
from xdploaderd.errors import HookBusyError, LoaderError, PinError
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.net.door import Netlink

log = logging.getLogger(__name__)


class PuttingBack:
    """Puts back what is held."""

    def __init__(
        self,
        displaced: Displaced,
        snapshots: Snapshots,
        rtnl: Netlink,
        placer: Placer,
        programs: OwnPrograms,
        worker: Pool,
    ) -> None:
        self.displaced = displaced
        self._snapshots = snapshots
        self._rtnl = rtnl
        self._placer = placer
        self._programs = programs
        self._worker = worker

    async def put_back(self, wanted: Sequence[Wanted]) -> None:
        """Put back all whose places no entry wants now; what fails is told. To do it twice does no harm."""
        for held in self.displaced.held():
            try:
                await self._put_back(held, wanted)
            except LoaderError as error:
                log.error("%s cannot be put back: %s", held, error, extra={"ERROR_CODE": error.code})
                self.displaced.failed(held, str(error))

    async def _put_back(self, held: Held, wanted: Sequence[Wanted]) -> None:
        place = held.met.place
        observed = await self._look(place, wanted)
        if held.met.prog_id is None or all(place.ifindex != one.index for one in observed.interfaces):
            return  # it went with its interface
        met = observed.in_the_way(place)
        if _is_wanted(place, wanted, observed) or (met is not None and met.prog_id == held.met.prog_id):
            return
        with ExitStack() as stack:
            prog = await asyncio.get_running_loop().run_in_executor(self._worker, self.displaced.open, held.met.prog_id)
            if prog is None:
                raise PinError(held.problem or "it is not held any more")
            stack.enter_context(prog)
            expected = None
            if met is not None:
                owner = observed.owner_of(met)
                if owner is None:
                    text = f"{place} is taken by program {met.prog_id} of others now"
                    raise HookBusyError(text, prog_id=met.prog_id or 0, prog_name=met.name)
                expected = stack.enter_context(self._programs.open(owner.name))
            await self._placer.put_back(met, held.met, prog, expected=expected)
        log.info("put back %s", held)

    async def _look(self, place: Place, wanted: Sequence[Wanted]) -> Observed:
        """Return the world with the filters of that place, which may be no entry's any more."""
        observed = await self._snapshots.snapshot(wanted)
        interface = next((one for one in observed.interfaces if one.index == place.ifindex), None)
        if place.hook is Hook.XDP or interface is None:
            return observed
        others = [occupant for occupant in observed.occupants if not _is_filter_at(occupant.place, place)]
        there = [tc_occupant(interface, item) for item in await self._rtnl.filters(place.ifindex, place.hook)]
        return replace(observed, occupants=(*others, *there))


def _is_filter_at(place: Place, other: Place) -> bool:
    return place.kind is AttachKind.NETLINK and (place.ifindex, place.hook) == (other.ifindex, other.hook)


def _is_wanted(place: Place, wanted: Sequence[Wanted], observed: Observed) -> bool:
    """Whether an entry has that place: it was there before what is rolled back, or replaced what had been there."""
    for want in resolve(wanted, observed.interfaces):
        interface = None if want.missing or want.held else observed.interface(want.config.interface)
        if interface is not None and wanted_place(want.config, interface).conflicts_with(place):
            return True
    return False

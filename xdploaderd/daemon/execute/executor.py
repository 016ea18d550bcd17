"""The single interpreter of actions: every change of hooks and of own pins starts here.

Order of a change: load, pin beside the old, remember, attach (the one step that counts), take strays off, put the new
pin in force. A failure before the hook changed leaves the old program running; what is staged then is dropped by the
repair of the next pass, which looks at the hook first.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Pool
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar, TypeVarTuple, assert_never

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Attach, Change, Detach, Rename, Repair, Replace
from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.world import Observed, Occupant, Place, Record
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.hooks import Hook, MapSharing
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.syscall import Fd
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgId

log = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Executor:
    """Carries out changes one at a time. Raises LoaderError; then the program that ran before still runs."""

    def __init__(
        self,
        placer: Placer,
        programs: OwnPrograms,
        worker: Pool,
        hold: Callable[[Occupant, Fd | None], None] = lambda _met, _prog: None,
        is_orphan: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._placer = placer
        self._programs = programs
        self._whereabouts = programs.whereabouts
        self._worker = worker
        self._hold = hold  # called with a program that no entry wants before it is replaced; blocks
        self._is_orphan = is_orphan  # by name; an entry's program comes back with its entry

    async def execute(self, action: Change) -> Outcome:
        """Carry out one change."""
        match action:
            case Attach() | Replace():
                return await self._change(action)
            case Detach():
                return await self._detach(action)
            case Repair():
                return await self._repair(action)
            case Rename():
                return Outcome(await self._in_worker(self._programs.rename, action))
            case _:
                assert_never(action)

    def prog_id(self, prog: Fd) -> ProgId:
        """Return the id of a program."""
        return self._programs.info(prog).id

    async def adopt(self, config: AttachmentConfig, place: Place, sha1: str, prog: Fd) -> None:
        """Pin a program that runs at `place` as that of the entry, if it is that of its object; see OwnPrograms."""
        await self._in_worker(self._programs.adopt, config, place, sha1, prog)

    async def disown(self, name: str) -> None:
        """Remove the pins of the entry and leave its program attached."""
        await self._in_worker(self._programs.forget, name)

    async def _change(self, action: Attach | Replace) -> Outcome:
        if action.from_pin:
            with self._programs.open(action.name) as prog:
                put = await self.switch(action, prog)
            info = await self._in_worker(self._whereabouts.moved, action.name, action.place, action.strays)
            news = await self._in_worker(self._whereabouts.took, action.name, action.place, put)
            if action.strays:
                await self._take_off(action.name, action.strays)
                await self._in_worker(self._whereabouts.moved, action.name, action.place)
            return Outcome(info, gap=put.gap, second_best=news, mode=put.mode)
        staged = await self._in_worker(self._programs.stage, action.wanted.config, action.place, action.wanted.sha1)
        with staged.loaded:  # an error takes back the pins of its maps
            put = await self.switch(action, staged.prog)
        if action.promote:
            await self._take_off(action.name, action.strays)
            await self._in_worker(self._programs.promote, action.name)
        news = await self._in_worker(self._whereabouts.took, action.name, action.place, put)
        return Outcome(staged.info, staged.record.sha1, put.gap, news, put.mode)

    async def switch(self, action: Attach | Replace, prog: Fd) -> Put:
        """Take the step that counts: from here on the new program runs. Return how it came there."""
        before, off = await self._in_worker(self._give_way, action, prog), list[Place]()
        goes = await self._in_worker(self._whereabouts.goes_to, action.name, action.place) if action.from_pin else None
        try:
            with _context(action.place):
                put = await self._switch(action, prog, off)
        except LoaderError:
            for record, left in (*((one, off) for one in before), *(((goes, ()),) if goes is not None else ())):
                await self._in_worker(self._whereabouts.stays, record, left)
            raise
        return replace(put, gave_way=before)

    def _give_way(self, action: Attach | Replace, prog: Fd) -> tuple[Record, ...]:
        """Remember first that the owner's program goes by our own doing, so that a crash is not blamed on others.

        Return what was remembered before. So it is with an entry that shares the program and had it in that place until
        others took it off: what runs there from now on is not that one's, and stays when it goes.
        """
        gives = None
        if isinstance(action, Replace) and action.giver is not None:
            gives = self._whereabouts.gives_way(action.giver, action.current.place)
        shares = action.wanted.config.maps is MapSharing.SHARED
        others = self._whereabouts.vacate(action.name, action.place, self._programs.info(prog).id) if shares else ()
        return (*((gives,) if gives is not None else ()), *others)

    async def _switch(self, action: Attach | Replace, prog: Fd, off: list[Place]) -> Put:
        label = f"{action.wanted.config.object.name}:[{action.wanted.config.program}]"
        await self._in_worker(self._hold_replaced, action)
        match action:
            case Attach():
                return await self.put(action.place, prog, label)
            case Replace(gap=True):
                return await self._swap_with_gap(action, prog, label, off)
            case Replace(owner=None):
                await self._placer.swap(action.current, action.place, prog, expected=None, label=label)
            case Replace(owner=str(owner)):
                with self._programs.open(owner) as expected:
                    await self._placer.swap(action.current, action.place, prog, expected=expected, label=label)
        return Put(in_place=True)

    async def put(self, place: Place, prog: Fd, label: str) -> Put:
        """Attach to a free place; that clsact is made for it is remembered first, so that no crash leaves it there."""
        makes = not self._whereabouts.made_clsact(place.ifindex) and await self._placer.needs_clsact(place)
        if makes:
            await self._in_worker(self._whereabouts.makes_clsact, place.ifindex)
        put = await self._placer.put(place, prog, label=label)
        if makes and not put.made_clsact:  # somebody else was faster
            await self._in_worker(self._whereabouts.has_no_clsact, place.ifindex)
        return put

    async def tidy(self, observed: Observed) -> None:
        """Remove what a crash left of our own clsact where no filter of ours is; one with filters of others is theirs.

        It is forgotten in any case: who asks the kernel for a qdisc gives every listener an event (tc_get_qdisc() of
        net/sched/sch_api.c), and events ask for the next pass.
        """
        made = self._whereabouts.clsacts()
        filters = (o.place for o in observed.occupants if made and observed.owner_of(o) is not None)
        used = {place.ifindex for place in filters if place.hook is not Hook.XDP}
        for ifindex in sorted(made - used):
            try:
                await self._placer.drop_clsact(ifindex)
                await self._in_worker(self._whereabouts.has_no_clsact, ifindex)
            except LoaderError as error:
                log.debug("clsact of interface %d stays until the next look: %s", ifindex, error)

    def _hold_replaced(self, action: Attach | Replace) -> None:
        """Hold a program of others, or of ours that no entry wants, so that it may come back."""
        match action:
            case Replace(owner=None, restores=False):
                self._hold(action.current, None)
            case Replace(owner=str(owner)) if self._is_orphan(owner):
                with self._programs.open(owner) as prog:
                    self._hold(action.current, prog)

    async def _swap_with_gap(self, action: Replace, prog: Fd, label: str, off: list[Place]) -> Put:
        """Take the current program off, then put the new one on; the current one comes back when that fails.

        `off` has its place where it does not come back.
        """
        with self._open_current(action) as current:
            began = time.monotonic()
            await self._placer.take_off(action.current.place, current)
            off.append(action.current.place)
            try:
                put = await self._placer.put(action.place, prog, label=label)
                return replace(put, gap=time.monotonic() - began)
            except LoaderError:
                await self._placer.put(action.current.place, current, label=label)
                off.clear()
                raise

    def _open_current(self, action: Replace) -> Fd:
        if action.owner is not None:
            return self._programs.open(action.owner)
        if action.current.prog_id is None:
            raise AssertionError("only XDP programs change with a gap, and those have ids")
        return self._programs.open_foreign(action.current.prog_id)

    async def _detach(self, action: Detach) -> Outcome:
        """Take the program off; first it is remembered that it goes by our own doing, so that a crash blames nobody."""
        before = await self._in_worker(self._whereabouts.leaves, action.name, action.places)
        off = list[Place]()
        try:
            info = await self._take_off(action.name, action.places, off)
        except LoaderError:
            if before is not None and action.forget:  # what others do to a program that stays is their doing
                await self._in_worker(self._whereabouts.stays, before, off)
            raise
        if action.forget:
            await self._in_worker(self._programs.forget, action.name)
        return Outcome(info)

    async def _repair(self, action: Repair) -> Outcome:
        if action.unpinned is not None:
            return Outcome(await self._in_worker(self._programs.pin_again, action.name, action.unpinned))
        for place in action.astray:
            self._placer.hand_over(place, action.name)
        if action.runs_at is not None:
            return Outcome(await self._in_worker(self._whereabouts.moved, action.name, action.runs_at))
        if not action.promote:
            await self._in_worker(self._programs.discard, action.name)
            return Outcome()
        await self._take_off(action.name, action.strays)
        await self._in_worker(self._programs.promote, action.name)
        return Outcome()

    async def _take_off(self, name: str, places: Sequence[Place], off: list[Place] | None = None) -> ProgInfo | None:
        """Take the entry's program off these places, each of which `off` has when that is done."""
        if not places:
            return None
        with self._programs.open(name) as prog:
            for place in places:
                remove_clsact = self._whereabouts.made_clsact(place.ifindex)
                with _context(place):
                    await self._placer.take_off(place, prog, remove_clsact=remove_clsact)
                if off is not None:
                    off.append(place)
            return self._programs.info(prog)

    async def _in_worker(self, function: Callable[[*Args], T], *args: *Args) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)


def _context(place: Place) -> AbstractContextManager[None]:
    return error_context(f"interface {quoted(place.ifname)}")

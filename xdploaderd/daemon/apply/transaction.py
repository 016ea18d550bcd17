"""A plan carried out as one change: all of it, or nothing.

Every object is prepared, then every program loaded and pinned beside the old one, then the hooks change, and last the
new pins are put in force. Old programs stay pinned until then, so what fails before is undone in reverse. A crash
leaves what a single change leaves, for each entry by itself: the repair of the next start looks at the hooks.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from typing import TypeVar, TypeVarTuple

from xdploaderd.daemon.execute.executor import Executor
from xdploaderd.daemon.execute.foretelling import foretell
from xdploaderd.daemon.execute.placing import Placer
from xdploaderd.daemon.execute.programs import OwnPrograms, Staged
from xdploaderd.daemon.loop.seams import Outcome
from xdploaderd.daemon.plan.actions import Action, Attach, Change, Detach, Replace
from xdploaderd.daemon.plan.rungs import Put
from xdploaderd.daemon.plan.status import PlannedAction
from xdploaderd.daemon.plan.world import Occupant, Place
from xdploaderd.errors import LoaderError, error_context
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.syscall import Fd

log = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")
Outcomes = tuple[tuple[Change, Outcome], ...]


class Transaction:
    """Carries out plans. Raises LoaderError; then everything is as it was, but for what the log says."""

    def __init__(self, executor: Executor, placer: Placer, programs: OwnPrograms, worker: Pool) -> None:
        self._executor = executor
        self._placer = placer
        self._programs = programs
        self._whereabouts = programs.whereabouts
        self._worker = worker

    async def foretell(self, actions: Sequence[Action]) -> tuple[PlannedAction, ...]:
        """Return what carrying these out comes to, without doing it; raises nothing for what cannot be done."""
        return await self._work(foretell, self._programs, actions)

    async def carry_out(self, actions: Sequence[Change], *, begin: Callable[[], None] = lambda: None) -> Outcomes:
        """Carry out attachments, replacements and detachments, and return what each came to.

        `begin` is called in the worker when all is prepared and nothing is made yet; what it raises ends it.
        """
        changes = [action for action in actions if isinstance(action, Attach | Replace)]
        detaches = [action for action in actions if isinstance(action, Detach)]
        fresh = [action for action in changes if not action.from_pin]
        for action in fresh:
            with _of(action):
                await self._work(self._programs.prepare, action.wanted.config, action.wanted.sha1)
        await self._work(begin)
        with ExitStack() as held:
            async with AsyncExitStack() as undo:
                staged = await self._stage_all(fresh, held, undo)
                puts = {}
                for action in changes:
                    with _of(action):
                        puts[action.name] = await self._switch(action, staged, held, undo)
                for action in changes:
                    with _of(action):
                        await self._take_off(action.name, action.strays, held, undo)
                ended = []
                for detach in detaches:
                    with _of(detach):
                        ended.append((detach, await self._take_off(detach.name, detach.places, held, undo)))
                undo.pop_all()
            _let_go(held)
        return await self._commit(changes, ended, staged, puts)

    async def _stage_all(
        self, fresh: Sequence[Attach | Replace], held: ExitStack, undo: AsyncExitStack
    ) -> Mapping[str, Staged]:
        """Load and pin the programs; the pins of their maps go with `held`, when an error ends it."""
        staged = {}
        for action in fresh:
            with _of(action):
                config, sha1 = action.wanted.config, action.wanted.sha1
                made = await self._work(self._programs.stage, config, action.place, sha1)
            held.enter_context(made.loaded)
            staged[action.name] = made
            undo.push_async_callback(_undone, f"the new program of '{action.name}' stays pinned", self._discard(action))
        return staged

    def _discard(self, action: Change) -> Callable[[], Awaitable[None]]:
        return lambda: self._work(self._programs.discard, action.name)

    async def _switch(
        self, action: Attach | Replace, staged: Mapping[str, Staged], held: ExitStack, undo: AsyncExitStack
    ) -> Put:
        prog = staged[action.name].prog if action.name in staged else held.enter_context(self._open(action.name))
        old = self._old_program(action)
        if old is not None:
            held.enter_context(old)
        put = await self._executor.switch(action, prog)
        what = f"the program of '{action.name}' stays on {action.place}"
        undo.push_async_callback(_undone, what, lambda: self._switch_back(action, put, prog, old))
        return put

    def _open(self, name: str) -> Fd:
        return self._programs.open(name)

    def _old_program(self, action: Attach | Replace) -> Fd | None:
        """Open what runs there; somebody else's program can be opened by whoever has CAP_SYS_ADMIN."""
        match action:
            case Replace(owner=str(owner)):
                return self._open(owner)
            case Replace(current=Occupant(prog_id=int(prog_id))):
                try:
                    return self._programs.open_foreign(prog_id)
                except LoaderError:
                    return None
            case _:
                return None

    async def _switch_back(self, action: Attach | Replace, put: Put, prog: Fd, old: Fd | None) -> None:
        place = replace(action.place, mode=put.mode) if put.refused else action.place
        remove_clsact = self._whereabouts.made_clsact(place.ifindex)
        match action:
            case Attach():
                await self._placer.take_off(place, prog, remove_clsact=remove_clsact)
            case Replace(owner=None, current=current) if old is not None:
                there = replace(current, place=replace(place, mode=current.place.mode))
                there = there if not action.gap else replace(current, place=place)
                await self._placer.put_back(there, current, old, expected=prog)
            case Replace() if old is None:
                raise LoaderError("the program of others that was there cannot be put back: that needs CAP_SYS_ADMIN")
            case Replace(gap=True, current=current):
                await self._placer.take_off(place, prog)
                await self._placer.put(current.place, old, label=current.name)
            case Replace(current=current):
                now = Occupant(replace(current.place, slot=place.slot), self._programs.info(prog).id)
                await self._placer.swap(now, current.place, old, expected=prog, label=current.name)
        for record in put.gave_way:
            await self._work(self._whereabouts.stays, record, ())

    async def _take_off(
        self, name: str, places: Sequence[Place], held: ExitStack, undo: AsyncExitStack
    ) -> ProgInfo | None:
        """Take the entry's program off these places, and return what it is; None: there is no place."""
        if not places:
            return None
        prog = held.enter_context(self._open(name))
        info = self._programs.info(prog)
        before = await self._work(self._whereabouts.leaves, name, places)  # first: a crash is not blamed on others
        for number, place in enumerate(places):
            remove_clsact = self._whereabouts.made_clsact(place.ifindex)
            try:
                await self._placer.take_off(place, prog, remove_clsact=remove_clsact)
            except LoaderError:
                if before is not None:  # what others do to a program that stays is their doing
                    await self._work(self._whereabouts.stays, before, places[:number])
                raise
            what = f"the program of '{name}' is off {place}"
            undo.push_async_callback(_undone, what, self._put_back_at(name, place, prog))
        return info

    def _put_back_at(self, name: str, place: Place, prog: Fd) -> Callable[[], Awaitable[None]]:
        async def put_back() -> None:
            await self._executor.put(place, prog, self._whereabouts.label_of(name))
            await self._work(self._whereabouts.moved, name, place)

        return put_back

    async def _commit(
        self,
        changes: Sequence[Attach | Replace],
        ended: Sequence[tuple[Detach, ProgInfo | None]],
        staged: Mapping[str, Staged],
        puts: Mapping[str, Put],
    ) -> Outcomes:
        """Put the pins in force. From here on nothing is undone: what fails is left to the repair of the next pass."""
        done: list[tuple[Change, Outcome]] = []
        for action in changes:
            put = puts[action.name]
            made = staged.get(action.name)
            info = made.info if made else await self._settle(self._whereabouts.moved, action.name, action.place)
            news = await self._settle(self._whereabouts.took, action.name, action.place, put)
            done.append((action, Outcome(info, made.record.sha1 if made else "", put.gap, news or "", put.mode)))
            if made and action.promote:
                await self._settle(self._programs.promote, action.name)
        for detach, info in ended:
            done.append((detach, Outcome(info)))
            if detach.forget:
                await self._settle(self._programs.forget, detach.name)
        return tuple(done)

    async def _settle(self, function: Callable[[*Args], T], *args: *Args) -> T | None:
        try:
            return await self._work(function, *args)
        except LoaderError as error:
            log.error("pins are not in order yet, the next look at them mends it: %s", error)
            return None

    async def _work(self, function: Callable[[*Args], T], *args: *Args) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)


def _let_go(held: ExitStack) -> None:
    """Close what a change held, when the hooks have changed: a pin that does not move now is moved by the commit."""
    try:
        held.pop_all().close()
    except LoaderError as error:
        log.warning("a pin did not go over to its new map at once: %s", error, extra={"ERROR_CODE": error.code})


def _of(action: Change) -> error_context:
    return error_context(f"attachment '{action.name}'")


async def _undone(otherwise: str, undo: Callable[[], Awaitable[None]]) -> None:
    """Undo one step; what cannot be undone is told, and the rest is undone all the same."""
    try:
        await undo()
    except LoaderError as error:
        log.error("a change could not be undone, %s: %s", otherwise, error, extra={"ERROR_CODE": error.code})

"""Changes that wait to be confirmed: undone when they fail, and rolled back when nobody confirms them in time."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from xdploaderd.daemon.apply.starting import NO_CONFIRMED, NOT_CONFIRMED
from xdploaderd.daemon.apply.trial import LOOK_SECONDS, Trial
from xdploaderd.daemon.loop.reconcile import Reconciler, finish
from xdploaderd.daemon.plan.status import AttachmentStatus
from xdploaderd.daemon.service.caller import DEADLINE, NOWHERE, audited, caller
from xdploaderd.daemon.service.names import Names
from xdploaderd.daemon.service.requests import AttachRequest, Requests
from xdploaderd.errors import LoaderError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class InForce:
    """Since when a configuration is in force, in seconds since the epoch, and why it is not what the files say."""

    error: str = ""
    since: float = field(default_factory=time.time)


class Unconfirmed:
    """Begins what is on trial, and takes it back; the caller sees to it that entries change by one change at a time."""

    def __init__(
        self, reconciler: Reconciler, requests: Requests, trial: Trial, names: Names, in_force: InForce
    ) -> None:
        self._reconciler = reconciler
        self._requests = requests
        self._trial = trial
        self._names = names
        self._in_force = in_force

    @asynccontextmanager
    async def trying(self, name: str, confirm: int) -> AsyncGenerator[None, None]:
        """Undo what the block does to the entry when it fails, and with `confirm` when nobody confirms it."""
        if not confirm:
            yield
            return
        async with self._reconciler.writing:  # no pass renames, or removes, what is pinned once more
            await asyncio.to_thread(self._trial.request.begin, name, confirm)
        try:
            yield
        except LoaderError:
            await self._give_up(self._undo_request())
            raise
        finally:
            self._trial.request_began()

    async def attach_object(self, request: AttachRequest) -> AttachmentStatus:
        """Attach a program that no file configures, on trial; see Requests.attach_object."""
        trial = self._trial.request
        try:
            return await self._requests.attach_object(request, lambda entry: trial.begin(entry.name, request.confirm))
        except LoaderError:  # nothing was changed
            await self._give_up(asyncio.to_thread(trial.end))
            raise
        finally:
            self._trial.request_began()

    async def confirm(self) -> None:
        """Let what waits stay in force. Raises UsageError where nothing does."""
        on_request = self._trial.request.waits()
        await self._trial.confirm()
        if on_request:
            await self._requests.clean()
        else:
            self._in_force.error = ""

    async def begin(self) -> None:
        """Keep what the daemon began with as confirmed, unless it waits to be, and drop what a crash left."""
        if not self._trial.is_over:
            self._trial.ran_at_start = None  # the first pass was no part of a roll-back
        await asyncio.to_thread(self._trial.tidy)
        await self._requests.clean()  # of programs that were replaced by the first pass
        if not self._in_force.error:
            await asyncio.to_thread(self._trial.keep)

    async def roll_back(self) -> None:
        """Roll back what waits to be confirmed, to its end. Raises UsageError where nothing does, or what stops it."""
        with self._names.recorded_refusal("roll-back"):
            self._trial.check_waits()
        await finish(self._roll_back())

    async def end_expired(self) -> None:
        """Roll back what was not confirmed in time, unless it is by now; what stops that is logged."""
        if not self._trial.is_over:
            return
        asked = caller.set(DEADLINE)
        try:
            await finish(self._roll_back())
        except LoaderError as error:  # it still waits to be confirmed, and so is rolled back again
            log.error("the roll-back is tried again: %s", error, extra={"ERROR_CODE": error.code})
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            caller.reset(asked)

    async def _roll_back(self) -> None:
        ran, self._trial.ran_at_start = self._trial.ran_at_start, None
        if (pending := self._trial.request.pending) is not None:
            log.warning("the change of '%s' was not confirmed and is rolled back", pending.name)
            stood = None if ran is None else ran.get(pending.name, NOWHERE)
            with audited("roll-back", pending.name, lambda: self._names.stand(pending.name), self._how_it_went, stood):
                await self._undo_request()
            return
        before = await asyncio.to_thread(self._trial.there_before)
        with self._names.recorded("roll-back", self._how_it_went, ran):
            went_back = await self._trial.roll_back()
            self._in_force.error, self._in_force.since = NOT_CONFIRMED if went_back else NO_CONFIRMED, time.time()
            self._reconciler.forgive()
            await self._settle_but(before)
            await self._trial.decided()

    async def _give_up(self, undo: Awaitable[None]) -> None:
        """Undo a request that failed; where that fails too, its time is over, so that it is rolled back from now on."""
        self._trial.request.give_up()
        try:
            await undo
        except LoaderError as error:
            log.error("a change that failed is not undone yet: %s", error, extra={"ERROR_CODE": error.code})

    async def _undo_request(self) -> None:
        request = self._trial.request
        await self._requests.applier.put_back(request.undo)
        self._reconciler.forgive()
        await self._reconciler.settled()
        await asyncio.to_thread(request.undone)
        await self._requests.clean()

    async def _settle_but(self, before: AbstractSet[str]) -> None:
        """Remove what is left without an entry, but for orphans of before: a start took what was on trial for such."""
        brought = (await self._reconciler.settled()).orphans.keys() - before
        for name in brought:
            self._reconciler.orphans.reject(name)
        if brought:
            await self._reconciler.settled()

    def _how_it_went(self) -> str:
        left = () if self._in_force.error != NO_CONFIRMED else (NO_CONFIRMED,)
        return "; ".join((*left, *self._trial.lost)) or "done"

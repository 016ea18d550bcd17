"""A configuration on trial: in force, and rolled back by itself unless somebody who still gets through confirms it.

Before the first new program is loaded, the old ones are pinned once more, and it is on disk what waits and until when.
A crash after that is followed by a start with the new configuration on trial, or with the old one when it is too late.
"""

import asyncio
import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from xdploaderd.daemon.apply.applying import Applier
from xdploaderd.daemon.apply.confirming import Confirming
from xdploaderd.daemon.apply.request_trial import OldPrograms, RequestTrial, drop_decided
from xdploaderd.daemon.apply.starting import on_interface
from xdploaderd.daemon.plan.actions import interfaces_of
from xdploaderd.daemon.plan.status import PlannedAction, Stand
from xdploaderd.daemon.wanted.wishes import Digests, Settings, Wishes
from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.printable import quoted

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # a sleep of the loop is of another clock than the deadline
MAX_SECONDS = 24 * 3600


class Trial:
    """Puts configurations in force, for good or until they are confirmed; one call at a time."""

    def __init__(
        self,
        applier: Applier,
        wishes: Wishes,
        confirming: Confirming,
        old: OldPrograms,
        request: RequestTrial,
        *,
        start_error: str = "",
    ) -> None:
        self.start_error = start_error
        self.ran_at_start: Mapping[str, Stand] | None = None  # before a roll-back that began with the first pass
        self.request = request
        self._applier = applier
        self._wishes = wishes
        self._confirming = confirming
        self._old = old
        self._begun = asyncio.Event()

    @property
    def seconds_left(self) -> int:
        """How long what is in force still waits to be confirmed; 0: nothing does."""
        return int(self._left()) + 1 if self._waits() else 0

    def check_waits(self) -> None:
        """Raise UsageError where nothing waits to be confirmed."""
        if not self._waits():
            raise UsageError("no configuration waits to be confirmed, and no change")

    @property
    def is_over(self) -> bool:
        """Return whether the time is over in which something could be confirmed."""
        return self._waits() and self._left() <= 0

    @property
    def lost(self) -> tuple[str, ...]:
        """Which programs of others do not come back, or did not, and why."""
        return self._old.lost()

    def _waits(self) -> bool:
        return self._confirming.waits() or self.request.waits()

    def _left(self) -> float:
        return self.request.seconds_left() if self.request.waits() else self._confirming.seconds_left()

    async def plan(self, settings: Settings, digests: Digests) -> tuple[PlannedAction, ...]:
        """Return what apply() would do."""
        return await self._applier.foretell(settings, digests, settings.protect | self.protected)

    async def apply(self, settings: Settings, digests: Digests, *, partial: bool, confirm: int) -> None:
        """Put a configuration in force; with `confirm` (seconds) on trial. Raises as Applier.apply, and UsageError."""
        self.check_apply(confirm, partial=partial)
        if confirm:
            await self._try(settings, digests, confirm)
            return
        await self._check_protected(settings, digests)
        if partial:
            self._wishes.adopt(settings, digests)
        else:
            await self._applier.apply(settings, digests)
        self._old.acknowledge()
        await asyncio.to_thread(self.keep)

    def check_apply(self, confirm: int, *, partial: bool) -> None:
        """Raise UsageError where a configuration may not be put in force so, or not now, whatever it says."""
        self.check_settled(confirm)
        if partial and confirm:
            raise UsageError("partial and confirm contradict each other: what is to be rolled back is one change")

    def check_settled(self, confirm: int) -> None:
        """Raise UsageError while something waits to be confirmed, or where the time for that makes no sense."""
        if self._waits():
            what = "the change" if self.request.waits() else "the configuration"
            raise UsageError(
                f"{what} in force waits to be confirmed for {self.seconds_left} s more: `xdploaderctl confirm`, or wait"
                " until it is rolled back"
            )
        if not 0 <= confirm <= MAX_SECONDS:
            raise UsageError(f"time to confirm is {confirm} s, want at most {MAX_SECONDS}")

    def check_request(self, confirm: int, *, permanent: bool = False) -> None:
        """Raise UsageError where a request has to wait; one without `confirm` waits for other requests alone.

        What is `permanent` waits for a configuration besides: beside files that were rolled back, one more file would
        make a new configuration of them, which the next start takes.
        """
        if confirm or permanent or self.request.waits():
            self.check_settled(confirm)
        if permanent and (self._confirming.pending is not None or self._confirming.is_damaged):
            raise UsageError(
                "the configuration files were not confirmed and are rolled back, so that nothing permanent can be put"
                " beside them: mend them and use `xdploaderctl apply` first, or leave `permanent` out"
            )

    def request_began(self) -> None:
        """Watch the deadline of a request on trial."""
        self._begun.set()

    async def _try(self, settings: Settings, digests: Digests, confirm: int) -> None:
        def begin() -> None:
            self._old.keep()
            self._wishes.remember()
            self._confirming.begin(settings, digests, confirm)

        await asyncio.to_thread(self._confirming.save, self._wishes.settings, self._digests())
        try:
            await self._applier.apply(settings, digests, begin=begin)
        except LoaderError:
            await asyncio.to_thread(self._forget)
            raise
        self._begun.set()
        log.warning("the new configuration is rolled back in %d s unless it is confirmed", confirm)

    async def confirm(self) -> None:
        """Let the configuration that waits stay in force. Raises UsageError where none waits."""
        if self.request.waits():
            await asyncio.to_thread(self.request.end)
            self._old.acknowledge()
            return
        self.check_waits()
        await asyncio.to_thread(self._confirming.save, self._wishes.settings, self._digests())
        try:
            await asyncio.to_thread(self._confirming.end)
        except LoaderError as error:
            if not self._confirming.decide():
                raise
            log.warning("that it waited stays on disk, and counts for nothing: %s", error)
        await asyncio.to_thread(self._drop_old)
        self._old.acknowledge()
        log.info("the configuration is confirmed")

    async def expired(self) -> None:
        """Wait until something was not confirmed in time."""
        while not self._waits() or self._left() > 0:
            if not self._waits():
                self._begun.clear()
                await self._begun.wait()
            await asyncio.sleep(min(LOOK_SECONDS, self._left()))

    def there_before(self) -> frozenset[str]:
        """Return the names under which something was pinned when the trial began; blocks."""
        return frozenset(name for name, _ in self._old.programs())

    async def roll_back(self) -> bool:
        """Put the last confirmed configuration in force again, each entry by itself where not all can be.

        Return whether there is one. It waits until decided(), so that who dies in between starts with a roll-back.
        Raises FileError, PinError, KernelError; then it waits on, to be rolled back again.
        """
        found = await asyncio.to_thread(self._confirming.confirmed, self._wishes.settings)
        if found is None:
            log.error("the configuration cannot be rolled back: no confirmed one is known")
            await asyncio.to_thread(self._forget)
            return False
        absent = await asyncio.to_thread(self._confirming.read.read_all, self._wishes.remembered(), found[0].limits)
        settings, digests = found[0], {**absent, **self._digests(), **found[1]}
        log.warning("the configuration was not confirmed and is rolled back")
        try:
            await self._applier.roll_back(settings, digests)
        except LoaderError as error:
            log.error("not all can be rolled back at once: %s", error, extra={"ERROR_CODE": error.code})
        await asyncio.to_thread(self._old.restore_maps)  # until that is done they keep their second pins
        return True

    async def decided(self) -> None:
        """Let the roll-back be over: nothing of what was rolled back is left. Raises FileError; then it waits on."""
        await asyncio.to_thread(self._confirming.reject)
        await asyncio.to_thread(drop_decided, self._old)

    def tidy(self) -> None:
        """Remove the pins of old programs that a crash before or after a trial left; blocks."""
        if self._waits():
            return
        try:
            self._old.drop()
        except LoaderError as error:
            log.warning("pins of old programs cannot be removed: %s", error)

    def keep(self) -> None:
        """Remember what is in force as confirmed, unless it waits to be; blocks."""
        if self._confirming.waits():
            return
        try:
            self._confirming.save(self._wishes.settings, self._digests())
            self._confirming.end()
        except LoaderError as error:
            log.warning("the configuration is in force and cannot be kept as the last good one: %s", error)

    @property
    def protected(self) -> AbstractSet[str]:
        """The interfaces whose programs change on trial alone."""
        return self._confirming.protected_with(self._wishes.settings)

    def check_unprotected(self, interface: str, verb: str) -> None:
        """Raise UsageError where programs of the interface change on trial alone; `verb` as on a command line."""
        protected = self.protected
        if interface in protected - self._wishes.settings.protect:
            raise UsageError(
                f"interface {quoted(interface)} is protected until the configuration on trial, which protects it no"
                " more, is confirmed: `xdploaderctl confirm` first"
            )
        if interface in protected:
            raise UsageError(
                f"interface {quoted(interface)} is protected: use `xdploaderctl {verb} --confirm 60s`, or change the"
                " configuration and use `xdploaderctl apply --confirm 60s`"
            )

    async def _check_protected(self, settings: Settings, digests: Digests) -> None:
        protected = settings.protect | self.protected
        if not protected:
            return
        for action in await self._applier.plan(settings, digests):
            if touched := sorted(interfaces_of(action) & protected):
                raise UsageError(
                    f"attachment {quoted(action.name)}: interface {quoted(touched[0])} is protected,"
                    " use `xdploaderctl apply --confirm 60s`"
                )
        now = self._wishes.settings, self._digests()
        for name in sorted(protected):
            if not self._applier.is_there(name) and on_interface(settings, digests, name) != on_interface(*now, name):
                raise UsageError(
                    f"interface {quoted(name)} is protected, and would get something else when it comes,"
                    " use `xdploaderctl apply --confirm 60s`"
                )

    def _forget(self) -> None:
        self._confirming.end()
        self._drop_old()

    def _drop_old(self) -> None:
        self._wishes.forget()
        drop_decided(self._old)

    def _digests(self) -> Digests:
        """Return the digests of all objects; of one that a runtime entry read anew, that of the configuration."""
        now = self._wishes.checkpoint()
        return {entry.object: now.digests[entry.name] for entry in reversed(now.entries)}

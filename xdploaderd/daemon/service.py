"""What every front-end may ask of the daemon; none of them has logic of its own."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

from xdploaderd import __version__
from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.attached_maps import AttachedMaps, Running
from xdploaderd.daemon.caller import DEADLINE, audited, caller
from xdploaderd.daemon.core_logs import CoreLogs
from xdploaderd.daemon.file_changes import FileChanges
from xdploaderd.daemon.names import Names
from xdploaderd.daemon.news import News
from xdploaderd.daemon.reconcile import Reconciler, finish
from xdploaderd.daemon.report import AS_WANTED, attachment_statuses, orphans_of
from xdploaderd.daemon.requests import BAD_STATES, AttachRequest, Requests
from xdploaderd.daemon.settings import ConfigSource
from xdploaderd.daemon.settle import settle
from xdploaderd.daemon.starting import NOT_CONFIRMED
from xdploaderd.daemon.status import AttachedMap, AttachmentStatus, DaemonStatus, Origin, PlannedAction, State
from xdploaderd.daemon.trial import LOOK_SECONDS, Trial
from xdploaderd.daemon.wishes import Digests, Settings, Wishes
from xdploaderd.errors import (
    ConfigError,
    LoaderError,
    NoCoreLogError,
    NoSuchAttachmentError,
    NoSuchMapError,
    UsageError,
)
from xdploaderd.printable import quoted

log = logging.getLogger(__name__)


class Service:
    """The daemon's interface."""

    def __init__(
        self,
        reconciler: Reconciler,
        wishes: Wishes,
        requests: Requests,
        trial: Trial,
        source: ConfigSource,
        core_logs: CoreLogs,
    ) -> None:
        self._reconciler = reconciler
        self._wishes = wishes
        self._requests = requests
        self._trial = trial
        self._source = source
        self._core_logs = core_logs
        self.attached_maps: AttachedMaps | None = None  # None where there is no kernel to ask
        self._config_error = trial.start_error
        self._applied = time.time()
        self._changing = asyncio.Lock()  # entries change by one reload or request at a time
        self._file_changes = FileChanges()
        self._news = News(reconciler)
        self._names = Names(reconciler, wishes, trial, self._news)

    async def list(self) -> tuple[AttachmentStatus, ...]:
        """Return the status of every configured attachment, as of the last pass."""
        return await self._noted(attachment_statuses(self._reconciler.picture))

    async def _noted(self, statuses: Sequence[AttachmentStatus]) -> tuple[AttachmentStatus, ...]:
        return await asyncio.to_thread(self._file_changes.noted, statuses, self._wishes.digests())

    async def status(self) -> DaemonStatus:
        """Return the daemon's status, as of the last pass; never waits for a load. Before the first pass: degraded."""
        picture = self._reconciler.picture
        attachments = await self._noted(attachment_statuses(picture))
        unlike = any(a.state not in AS_WANTED for a in attachments) or bool(self._trial.lost)
        return DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            degraded=unlike or bool(self._config_error) or not picture.settled,
            config=str(self._source.config),
            pinning=str(self._source.pinning),
            config_error=self._config_error,
            applied=_utc(self._applied),
            confirm_seconds=self._trial.seconds_left,
            lost=self._trial.lost,
            protect=tuple(sorted(self._wishes.settings.protect)),
            attachments=attachments,
            orphans=orphans_of(picture),
        )

    async def attach(self, name: str, *, confirm: int = 0) -> AttachmentStatus:
        """End a hold and attach now what has to wait for a retry; raises the error that keeps the entry from it.

        With `confirm` that is undone after so many seconds, unless confirm() is called. An interface that is not there
        (yet) is no error. Raises NoSuchAttachmentError.
        """
        with audited("attach", name, lambda: self._names.stand(name)):
            if not confirm:
                return await self._attach(name, 0)
            async with self._changing:
                return await self._attach(name, confirm)

    async def _attach(self, name: str, confirm: int) -> AttachmentStatus:
        self._names.check(name)
        if name != entry_of(name) and self._wishes.is_held(entry_of(name)):
            whole = quoted(entry_of(name))
            raise UsageError(f"attachment {whole} is detached on all its interfaces: attach {whole} as a whole")
        self._names.check_change(name, "attach", confirm)
        async with self._trying(name, confirm):
            self._wishes.release(name)
            self._wishes.retake(name)
            return await settle(self._reconciler, name, failed=BAD_STATES)

    @asynccontextmanager
    async def _trying(self, name: str, confirm: int) -> AsyncGenerator[None, None]:
        """Undo what the block does to the entry when it fails, and with `confirm` when nobody confirms it."""
        if not confirm:
            yield
            return
        await asyncio.to_thread(self._trial.request.begin, name, confirm)
        try:
            yield
        except LoaderError:
            await self._undo_request()
            raise
        finally:
            self._trial.request_began()

    async def _undo_request(self) -> None:
        request = self._trial.request
        await self._requests.applier.put_back(request.undo)
        self._reconciler.forgive()
        await self._reconciler.settled()
        await asyncio.to_thread(request.undone)
        await self._requests.clean()

    async def attach_object(self, request: AttachRequest) -> AttachmentStatus:
        """Attach a program that no file configures; see Requests.attach_object, and attach() for `confirm`."""
        confirm = request.confirm
        if confirm and (request.permanent or request.program is not None):
            raise UsageError("only what lasts until reboot can be confirmed: want neither permanent nor a program")
        async with self._changing:
            self._trial.check_request(confirm)
            if confirm:
                return await self._attach_on_trial(request)
            check = partial(self._names.check_entry, verb="attach --object ...")
            return await self._requests.attach_object(request, check)

    async def _attach_on_trial(self, request: AttachRequest) -> AttachmentStatus:
        trial = self._trial.request
        try:
            return await self._requests.attach_object(request, lambda entry: trial.begin(entry.name, request.confirm))
        except LoaderError:  # nothing was changed
            await asyncio.to_thread(trial.end)
            raise
        finally:
            self._trial.request_began()

    async def detach(self, name: str, *, permanent: bool = False, confirm: int = 0) -> AttachmentStatus:
        """Take the program off, if it is ours, until attach() or reboot; a runtime entry is forgotten besides.

        `permanent`: so is one that the API made permanent. `confirm` as in attach(). Raises NoSuchAttachmentError,
        AttachError; UsageError for an entry that only its file can end.
        """
        async with self._changing:
            with audited("detach", name, lambda: self._names.stand(name)):
                self._names.check(name)
                self._names.check_change(name, "detach", confirm)
                if confirm and (permanent or self._wishes.origin_of(name) is Origin.PERMANENT):
                    raise UsageError("what is permanent cannot be put on trial: change its file, and apply --confirm")
                async with self._trying(name, confirm):
                    return await self._detach(name, permanent=permanent)

    async def _detach(self, name: str, *, permanent: bool) -> AttachmentStatus:
        origin = self._wishes.origin_of(name)
        if permanent and origin is None:
            raise UsageError(f"only {quoted(entry_of(name))} as a whole can be ended, not on one interface")
        if permanent and origin is Origin.CONFIGURED:
            raise UsageError(f"attachment {quoted(name)} is configured by hand: take it out of its file")
        if permanent or origin is Origin.RUNTIME:
            return await self._requests.forget(self._names.status(name))
        self._wishes.hold(name)
        return await settle(self._reconciler, name, failed=(State.FAILED,))

    async def sweep(self, name: str = "") -> DaemonStatus:
        """Detach and unpin an orphan now, or all of them; raises NoSuchAttachmentError, and what keeps it there."""
        async with self._changing:
            orphans = self._reconciler.picture.orphans
            with audited("sweep", name, lambda: self._names.stand(name)):
                if name and name not in orphans:
                    known = ", ".join(map(quoted, orphans)) or "none"
                    raise NoSuchAttachmentError(f"no orphan is named {quoted(name)} (there is: {known})")
                self._reconciler.orphans.sweep(name or None)
                picture = await self._reconciler.settled()
                failed = (picture.failures[left] for left in ([name] if name else orphans) if left in picture.failures)
                if failure := next(failed, None):
                    raise failure.error
        return await self.status()

    async def reload(self, *, partial: bool = False, confirm: int = 0) -> DaemonStatus:
        """Read configuration and objects anew, carry them out as one change, return how all stands then.

        With `partial`, entries that cannot be carried out do not keep the others from it. With `confirm` all is rolled
        back after so many seconds, unless confirm() is called. Raises the LoaderError that
        keeps the configuration from being carried out; then nothing was changed, and the last good one stays in force.
        """
        async with self._changing:
            with self._names.recorded("reload"):
                await self._reload(partial=partial, confirm=confirm)
        return await self.status()

    async def _reload(self, *, partial: bool, confirm: int) -> None:
        try:
            settings, digests = await asyncio.to_thread(self._read)
            await self._trial.apply(settings, digests, partial=partial, confirm=confirm)
        except LoaderError as error:
            self._config_error = str(error)
            log.error("configuration not applied, the last good one stays: %s", error, extra=_code(error))
            await self._reconciler.settled()
            await self._requests.clean()
            raise
        self._config_error, self._applied = "", time.time()
        self._reconciler.forgive()
        await self._reconciler.settled()
        await self._requests.clean()

    async def confirm(self) -> DaemonStatus:
        """Let what was done with `confirm` stay in force. Raises UsageError where nothing waits."""
        async with self._changing:
            with self._names.recorded("confirm"):
                on_request = self._trial.request.waits()
                await self._trial.confirm()
                if on_request:
                    await self._requests.clean()
                else:
                    self._config_error = ""
        return await self.status()

    async def keep_trials(self) -> NoReturn:
        """Keep what the daemon began with as confirmed, and roll back whatever is not confirmed in time."""
        caller.set(DEADLINE)
        await self._reconciler.settled()
        async with self._changing:
            await asyncio.to_thread(self._trial.tidy)
            await self._requests.clean()  # of programs that were replaced by the first pass
            if not self._config_error:
                await asyncio.to_thread(self._trial.keep)
        while True:
            await self._trial.expired()
            async with self._changing:
                if self._trial.is_over:  # it may have been confirmed meanwhile
                    await self._roll_back_or_wait()

    async def roll_back(self) -> DaemonStatus:
        """Roll back now what waits to be confirmed. Raises UsageError where nothing does, or what stops it."""
        async with self._changing:
            self._trial.check_waits()
            await finish(self._roll_back())
        return await self.status()

    async def _roll_back_or_wait(self) -> None:
        try:
            await finish(self._roll_back())
        except LoaderError as error:  # it still waits to be confirmed, and so is rolled back again
            log.error("the roll-back is tried again: %s", error, extra=_code(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _roll_back(self) -> None:
        if (pending := self._trial.request.pending) is not None:
            log.warning("the change of '%s' was not confirmed and is rolled back", pending.name)
            with audited("roll-back", pending.name, lambda: self._names.stand(pending.name), self._how_it_went):
                await self._undo_request()
            return
        before = await asyncio.to_thread(self._trial.there_before)
        with self._names.recorded("roll-back", self._how_it_went):
            await self._trial.roll_back()
            self._config_error, self._applied = NOT_CONFIRMED, time.time()
            self._reconciler.forgive()
            await self._settle_but(before)
            await self._trial.decided()

    async def _settle_but(self, before: AbstractSet[str]) -> None:
        """Remove what is left without an entry, but for orphans of before: a start took what was on trial for such."""
        brought = (await self._reconciler.settled()).orphans.keys() - before
        for name in brought:
            self._reconciler.orphans.sweep(name)
        if brought:
            await self._reconciler.settled()

    def _how_it_went(self) -> str:
        return "; ".join(self._trial.lost) or "done"

    async def plan(self) -> tuple[PlannedAction, ...]:
        """Return what reload() would do now, without doing it; raises as reload() does for faults of files."""
        async with self._changing:  # what is read for it is kept meanwhile
            try:
                settings, digests = await asyncio.to_thread(self._read)
                return await self._trial.plan(settings, digests)
            finally:
                await self._requests.clean()

    async def core_log(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return how the CO-RE relocations of an entry's program came about (docs/core-log.schema.json).

        Empty for a program without any. Raises NoSuchAttachmentError; NoCoreLogError where nothing is loaded for the
        entry, or the program was adopted.
        """
        if (running := self._names.running(name)) is None:
            raise NoCoreLogError(f"attachment {quoted(name)} has no program loaded")
        return await asyncio.to_thread(self._core_logs.find, running.prog.id)

    async def maps(self, name: str) -> tuple[AttachedMap, ...]:
        """Return the maps of an attachment's program. Raises NoSuchAttachmentError, NoSuchMapError where none runs."""
        maps, running = self._running(name)
        return await maps.list(running)

    async def open_map(self, name: str, map_name: str, *, write: bool = False) -> int:
        """Return a descriptor, the caller's, of a map of an attachment's program; without `write` it can only be read.

        Raises as maps() does.
        """
        maps, running = self._running(name)
        if not write:
            return await maps.open(running, map_name, write=False)
        with audited(f"open map '{map_name}' to write", name, lambda: self._names.stand(name)):
            return await maps.open(running, map_name, write=True)

    def _running(self, name: str) -> tuple[AttachedMaps, Running]:
        running = self._names.running(name)
        if self.attached_maps is None or running is None:
            raise NoSuchMapError(f"attachment {quoted(name)} has no program loaded, and so no maps")
        return self.attached_maps, running

    def changes(self) -> AsyncGenerator[AttachmentStatus, None]:
        """Yield the status of an attachment each time it becomes another; see News.changes."""
        return self._news.changes()

    def monitor(self) -> AsyncGenerator[tuple[AttachmentStatus, ...], None]:
        """Yield the status of every attachment, then those that became others; see News.monitor."""
        return self._news.monitor()

    async def next_change(self) -> DaemonStatus:
        """Wait until attachments are others than at the last call, then return the status; for one caller."""
        await self._news.changed()
        return await self.status()

    def _read(self) -> tuple[Settings, Digests]:
        settings = self._source.read()
        root = self._wishes.settings.pinning.root
        if settings.pinning.root != root:
            raise ConfigError(
                f"the pinning root changed from {quoted(str(root))} to {quoted(str(settings.pinning.root))}, where the"
                " daemon would not find its programs: detach them and start the daemon anew"
            )
        return settings, self._source.objects((*settings.attachments, *self._wishes.entries), settings.limits)


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _code(error: LoaderError) -> dict[str, str]:
    return {"ERROR_CODE": error.code}

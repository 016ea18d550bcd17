"""What every front-end may ask of the daemon; none of them has logic of its own."""

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from xdploaderd import __version__
from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.apply.trial import Trial
from xdploaderd.daemon.execute.attached_maps import AttachedMaps, Running
from xdploaderd.daemon.loop.news import News
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.report import AS_WANTED, attachment_statuses, orphans_of
from xdploaderd.daemon.loop.settle import settle
from xdploaderd.daemon.plan.status import AttachedMap, AttachmentStatus, DaemonStatus, Origin, PlannedAction, State
from xdploaderd.daemon.service.caller import audited
from xdploaderd.daemon.service.names import Names
from xdploaderd.daemon.service.requests import BAD_STATES, AttachRequest, Requests
from xdploaderd.daemon.service.unconfirmed import InForce, Unconfirmed
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.daemon.wanted.file_changes import FileChanges
from xdploaderd.daemon.wanted.settings import ConfigSource
from xdploaderd.daemon.wanted.wishes import Digests, Settings, Wishes
from xdploaderd.errors import (
    ConfigError,
    FileError,
    LoaderError,
    NoCoreLogError,
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
        self._in_force = InForce(trial.start_error)
        self._changing = asyncio.Lock()  # entries change by one reload or request at a time
        self._file_changes = FileChanges()
        self._news = News(reconciler)
        self._names = Names(reconciler, wishes, trial, self._news)
        self._unconfirmed = Unconfirmed(reconciler, requests, trial, self._names, self._in_force)

    @asynccontextmanager
    async def _change(self) -> AsyncGenerator[None, None]:
        """Let the block change entries, alone, and after the roll-back of what is over."""
        async with self._changing:
            await self._unconfirmed.end_expired()
            yield

    async def list(self) -> tuple[AttachmentStatus, ...]:
        """Return the status of every configured attachment, as of the last pass."""
        return await self._noted(attachment_statuses(self._reconciler.picture))

    async def _noted(self, statuses: Sequence[AttachmentStatus]) -> tuple[AttachmentStatus, ...]:
        told = tuple(self._with_next_look(status) for status in statuses)
        noted = await asyncio.to_thread(self._file_changes.noted, told, self._wishes.digests())
        if self.attached_maps is None:
            return noted
        return await asyncio.to_thread(self.attached_maps.noted, noted, self._reconciler.picture.observed.owned)

    def _with_next_look(self, status: AttachmentStatus) -> AttachmentStatus:
        """Tell when an object that cannot be read is tried again: at each look, of which listeners are not told."""
        unread = status.state is State.FAILED and status.error_code == FileError.code and not status.retry_at
        return replace(status, retry_at=math.ceil(self._reconciler.next_look)) if unread else status

    async def status(self) -> DaemonStatus:
        """Return the daemon's status, as of the last pass; never waits for a load. Before the first pass: degraded."""
        picture = self._reconciler.picture
        attachments = await self._noted(attachment_statuses(picture))
        unlike = any(a.state not in AS_WANTED for a in attachments) or bool(self._trial.lost)
        return DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            degraded=unlike or bool(self._in_force.error) or not picture.settled,
            config=str(self._source.config),
            pinning=", ".join(self._wishes.settings.pinning.sources),
            config_error=self._in_force.error,
            applied=_utc(self._in_force.since),
            confirm_seconds=self._trial.seconds_left,
            lost=self._trial.lost,
            protect=tuple(sorted(self._trial.protected)),
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
            async with self._change():
                return await self._attach(name, confirm)

    async def _attach(self, name: str, confirm: int) -> AttachmentStatus:
        self._names.check(name)
        if name != entry_of(name) and self._wishes.is_held(entry_of(name)):
            whole = quoted(entry_of(name))
            raise UsageError(f"attachment {whole} is detached on all its interfaces: attach {whole} as a whole")
        self._names.check_change(name, "attach", confirm)
        async with self._unconfirmed.trying(name, confirm):
            self._wishes.release(name)
            self._wishes.retake(name)
            return await settle(self._reconciler, name, failed=BAD_STATES)

    async def attach_object(self, request: AttachRequest) -> AttachmentStatus:
        """Attach a program that no file configures; see Requests.attach_object, and attach() for `confirm`."""
        confirm = request.confirm
        async with self._change():
            with self._names.recorded_refusal("attach-object", str(request.entry.get("name", ""))):
                if confirm and (request.permanent or request.program is not None):
                    text = "only what lasts until reboot can be confirmed: want neither permanent nor a program"
                    raise UsageError(text)
                self._trial.check_request(confirm, permanent=request.permanent)
            if confirm:
                return await self._unconfirmed.attach_object(request)
            check = partial(self._names.check_entry, verb="attach --object ...")
            status = await self._requests.attach_object(request, check)
            if request.permanent:
                await asyncio.to_thread(self._trial.keep)
            return status

    async def detach(self, name: str, *, permanent: bool = False, confirm: int = 0) -> AttachmentStatus:
        """Take the program off, if it is ours, until attach() or reboot; a runtime entry is forgotten besides.

        `permanent`: so is one that the API made permanent. `confirm` as in attach(). Raises NoSuchAttachmentError,
        AttachError; UsageError for an entry that only its file can end.
        """
        async with self._change():
            with audited("detach", name, lambda: self._names.stand(name)):
                self._names.check(name)
                self._names.check_change(name, "detach", confirm, permanent=permanent)
                if confirm and (permanent or self._wishes.origin_of(name) is Origin.PERMANENT):
                    raise UsageError("what is permanent cannot be put on trial: change its file, and apply --confirm")
                async with self._unconfirmed.trying(name, confirm):
                    return await self._detach(name, permanent=permanent)

    async def _detach(self, name: str, *, permanent: bool) -> AttachmentStatus:
        origin = self._wishes.origin_of(name)
        if permanent and origin is None:
            raise UsageError(f"only {quoted(entry_of(name))} as a whole can be ended, not on one interface")
        if permanent and origin is Origin.CONFIGURED:
            raise UsageError(f"attachment {quoted(name)} is configured by hand: take it out of its file")
        if permanent or origin is Origin.RUNTIME:
            status = await self._requests.forget(self._names.status(name))
            if permanent:
                await asyncio.to_thread(self._trial.keep)
            return status
        self._wishes.hold(name)
        return await settle(self._reconciler, name, failed=(State.FAILED,))

    async def sweep(self, name: str = "") -> DaemonStatus:
        """Detach and unpin an orphan now, or all of them but those that stay: see Orphans.

        Raises NoSuchAttachmentError, UsageError for one that stays, and what keeps it there.
        """
        async with self._changing:
            orphans = self._reconciler.picture.orphans
            with audited("sweep", name, lambda: self._names.stand(name)):
                if name:
                    self._names.check_orphan(name)
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
        async with self._change():
            with self._names.recorded("reload"):
                await self._reload(partial=partial, confirm=confirm)
        return await self.status()

    async def _reload(self, *, partial: bool, confirm: int) -> None:
        try:
            self._trial.check_apply(confirm, partial=partial)
        except LoaderError as error:  # nothing is wrong with the files
            log.error("configuration not read: %s", error, extra={"ERROR_CODE": error.code})
            raise
        try:
            settings, digests = await asyncio.to_thread(self._read)
            await self._trial.apply(settings, digests, partial=partial, confirm=confirm)
        except LoaderError as error:
            self._in_force.error = str(error)
            log.error("configuration not applied, the last good one stays: %s", error, extra={"ERROR_CODE": error.code})
            await self._reconciler.settled()
            await self._requests.clean()
            raise
        self._in_force.error, self._in_force.since = "", time.time()
        self._reconciler.forgive()
        await self._reconciler.settled()
        await self._requests.clean()

    async def confirm(self) -> DaemonStatus:
        """Let what was done with `confirm` stay in force. Raises UsageError where nothing waits."""
        async with self._changing:
            with self._names.recorded("confirm"):
                await self._unconfirmed.confirm()
        return await self.status()

    async def keep_trials(self) -> NoReturn:
        """Keep what the daemon began with as confirmed, and roll back whatever is not confirmed in time."""
        await self._reconciler.settled()
        async with self._changing:
            await self._unconfirmed.begin()
        while True:
            await self._trial.expired()
            async with self._changing:
                await self._unconfirmed.end_expired()

    async def roll_back(self) -> DaemonStatus:
        """Roll back now what waits to be confirmed. Raises UsageError where nothing does, or what stops it."""
        async with self._changing:
            await self._unconfirmed.roll_back()
        return await self.status()

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

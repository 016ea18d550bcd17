"""Entries through the API: made from a request and an object, attached, and forgotten again.

An object given by path stays a path, read again at each reload. One given by descriptor is copied at once, and only the
copy is ever looked at. All or nothing: an entry that cannot be attached is not kept, and what it replaced is wanted
again.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.entry import default_name, parse_entry
from xdploaderd.daemon.apply.applying import Applier
from xdploaderd.daemon.execute.adopting import Adopter
from xdploaderd.daemon.loop.reconcile import Reconciler, finish
from xdploaderd.daemon.loop.report import stand_of
from xdploaderd.daemon.loop.settle import settle
from xdploaderd.daemon.plan.status import AttachmentStatus, Origin, Stand, State
from xdploaderd.daemon.service.caller import audit
from xdploaderd.daemon.state.drop_ins import DropIns
from xdploaderd.daemon.state.kept_objects import KeptObjects, file_name
from xdploaderd.daemon.wanted.object_file import read_object, read_open_object
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.daemon.wanted.wishes import Checkpoint, Wishes
from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.hooks import Hook
from xdploaderd.kernel.syscall import Fd
from xdploaderd.obj.open import open_object
from xdploaderd.obj.select import program_for
from xdploaderd.printable import quoted

log = logging.getLogger(__name__)

SOURCE = "entry"  # what errors call it
BAD_STATES = (State.FAILED, State.FOREIGN)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """The keys of one attachment, and its object: at the key `object`, or behind `descriptor`.

    `program`: the descriptor of a program that runs there already, and is to be taken over as it is. Both descriptors
    are borrowed. `confirm`: undo it after so many seconds unless it is confirmed; 0: it is for good.
    """

    entry: Mapping[str, Any]
    permanent: bool = False
    force: bool = False
    descriptor: int | None = None
    program: int | None = None
    confirm: int = 0


@dataclass(frozen=True, slots=True)
class _Made:
    config: AttachmentConfig
    sha1: str
    sha256: str


class Stores:
    """Where the API keeps what it was given: objects until reboot, objects for good, configuration files.

    `read` has what was read of all objects.
    """

    def __init__(self, runtime: KeptObjects, permanent: KeptObjects, drop_ins: DropIns, read: ReadObjects) -> None:
        self.runtime = runtime
        self.permanent = permanent
        self.drop_ins = drop_ins
        self.read = read

    def clean(
        self,
        used: Iterable[AttachmentConfig],
        files: Mapping[PurePosixPath, str],
        digests: AbstractSet[str],
        dropped: Iterable[PurePosixPath] = (),
    ) -> None:
        """Remove the objects of runtime entries that no entry names, and of `dropped` those that none names any more.

        Of what was read, `files` and these digests stay. Other permanent objects stay: an entry that is missing now may
        only be switched off, or another daemon's.
        """
        paths = {config.object for config in used}
        self.read.keep_only(files, digests)
        self.runtime.sweep(paths)
        self.permanent.drop(path for path in dropped if path not in paths)


class Requests:
    """Makes and forgets entries; the caller lets only one call, or reload, be under way at a time."""

    def __init__(
        self, reconciler: Reconciler, wishes: Wishes, stores: Stores, adopter: Adopter, applier: Applier
    ) -> None:
        self.spared: Callable[[], tuple[AttachmentConfig, ...]] = tuple  # whose objects may be needed again
        self.spared_digests: Callable[[], AbstractSet[str]] = frozenset
        self._reconciler = reconciler
        self.adopter = adopter
        self.applier = applier
        self._wishes = wishes
        self._stores = stores

    async def attach_object(
        self, request: AttachRequest, begin: Callable[[AttachmentConfig], None] = lambda _entry: None
    ) -> AttachmentStatus:
        """Attach a program that no file configures, until reboot or for good.

        `begin` is called with the entry before anything is changed; it may block.
        Where a runtime entry has that name, or no name is given and one has that place, it is changed. Raises
        UsageError where the configuration has the name or the place, else what keeps the program from being attached.
        """
        before = self._wishes.checkpoint()
        made: _Made | None = None
        stood = Stand()
        program = None if request.program is None else Fd(os.dup(request.program))
        try:
            made = await self._make(request)
            stood = stand_of(self._reconciler.picture, made.config.name)
            async with self._reconciler.writing:  # no pass renames, or removes, what is pinned once more
                await asyncio.to_thread(begin, made.config)
            status = await self._attach(made, before, program, permanent=request.permanent)
        except LoaderError as error:
            name = made.config.name if made else str(request.entry.get("name", ""))
            self._audit("attach-object", name, stood, made, result=str(error))
            raise
        finally:
            if program is not None:
                program.close()
            objects = [entry.object for entry in (*before.entries, *([made.config] if made is not None else []))]
            await self.clean(objects)
        self._audit("attach-object" if program is None else "adopt", status.name, stood, made)
        return status

    def _audit(self, verb: str, name: str, stood: Stand, made: _Made | None, *, result: str = "done") -> None:
        after = stand_of(self._reconciler.picture, name) if name else Stand()
        audit(verb, name, digest=made.sha256 if made else "", before=stood, after=after, result=result)

    async def forget(self, status: AttachmentStatus) -> AttachmentStatus:
        """Detach what attach_object() made, and keep nothing of it. Where that fails, nothing is changed."""
        objects = [entry.object for entry in self._wishes.entries]
        await self._end(status.name, permanent=status.origin is Origin.PERMANENT)
        self._reconciler.forgive(status.name)
        await self._reconciler.settled()
        await self.clean(objects)
        return AttachmentStatus(
            name=status.name,
            interface=status.interface,
            hook=status.hook,
            object=status.object,
            program=status.program,
            mode=status.mode,
            state=State.DETACHED,
            origin=status.origin,
            reason="detached by request and forgotten",
        )

    async def _end(self, name: str, *, permanent: bool) -> None:
        if not permanent:
            await self.applier.end(name)
            return
        drop_ins = self._stores.drop_ins
        file = drop_ins.read(name)
        try:
            await self.applier.end(name, begin=lambda: drop_ins.restore(name, None))
        except LoaderError:
            if file is not None:
                with suppress(LoaderError):  # the first error is the one to tell
                    await asyncio.to_thread(drop_ins.restore, name, file)
            raise

    async def clean(self, dropped: Iterable[PurePosixPath] = ()) -> None:
        """As sweep(), and remove permanent objects among `dropped` that no entry names; not while a pass reads some."""
        async with self._reconciler.writing:
            await asyncio.to_thread(self.sweep, dropped)

    def sweep(self, dropped: Iterable[PurePosixPath] = ()) -> None:
        """Remove copies of objects that are not needed any more, before there is a loop; blocks."""
        digests = self._wishes.used_digests() | self.spared_digests()
        entries = (*self._wishes.entries, *self.spared())
        self._stores.clean(entries, self._wishes.read_files(), digests, dropped)

    async def _make(self, request: AttachRequest) -> _Made:
        descriptor = None if request.descriptor is None else os.dup(request.descriptor)  # the caller may go away
        try:
            raw, config = await asyncio.to_thread(self._read, request, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)
        self._check(config, permanent=request.permanent)
        if request.program is not None and self._is_in_force(config.name):
            raise UsageError(f"there is an attachment {quoted(config.name)}: give another name")
        if descriptor is not None:
            kept = self._stores.permanent if request.permanent else self._stores.runtime
            path = await asyncio.to_thread(kept.keep, raw, config.object.name)
            config = parse_entry({**request.entry, **_settled(config), "object": str(path)}, source=SOURCE)
        sha1 = await asyncio.to_thread(self._stores.read.put, config.object, raw)
        return _Made(config, sha1, hashlib.sha256(raw).hexdigest())

    def _is_in_force(self, name: str) -> bool:
        """Whether an entry has a program: one without any may be left of an adoption that was cut short."""
        owned = self._reconciler.picture.observed.owned.get(name)
        return self._wishes.origin_of(name) is not None and owned is not None and owned.prog is not None

    def _read(self, request: AttachRequest, descriptor: int | None) -> tuple[bytes, AttachmentConfig]:
        """Return the object's bytes and the entry with everything that may be left out."""
        values, limits = dict(request.entry), self._wishes.settings.limits
        given = values.get("object", "")
        if descriptor is None:
            if not given:
                raise UsageError("an entry needs its object, as the path `object` or as an open descriptor")
            known = parse_entry({"name": "x", "program": "x", **values}, source=SOURCE)
            raw = read_object(known.object, limits)
        else:
            raw = read_open_object(descriptor, limits)
            values["object"] = f"/{file_name(str(given))}"
            known = parse_entry({"name": "x", "program": "x", **values}, source=SOURCE)
        if "program" not in values:
            values["program"] = program_for(open_object(raw, name=known.object.name, limits=limits), known.hook).name
        if request.force:
            values["force"] = True
        if "name" not in values and not known.interface:
            raise UsageError("an entry with `match` needs a name")
        values.setdefault("name", self._name_for(known))
        return raw, parse_entry(values, source=SOURCE)

    def _name_for(self, entry: AttachmentConfig) -> str:
        name = default_name(entry.interface, entry.hook, priority=entry.priority, handle=entry.handle)
        there = self._wishes.rival_of(entry)
        made = there is not None and self._wishes.origin_of(there.name) is not Origin.CONFIGURED
        return there.name if there is not None and made else name

    def _check(self, config: AttachmentConfig, *, permanent: bool) -> None:
        origin = self._wishes.origin_of(config.name)
        if origin is Origin.CONFIGURED or (origin is Origin.PERMANENT and not permanent):
            how = "with `--permanent` too, or in its file" if origin is Origin.PERMANENT else "in its file"
            raise UsageError(f"attachment {quoted(config.name)} is {origin}: change it {how}, or give another name")
        if self._wishes.comes_back(config.name):
            raise UsageError(
                f"attachment {quoted(config.name)} gave way to the configuration on trial, and comes back unless that"
                " is confirmed: `xdploaderctl confirm` first, or give another name"
            )
        rival = self._wishes.rival_of(config)
        if rival is not None:
            where = "XDP" if config.hook is Hook.XDP else f"{config.hook} with that priority and handle"
            raise UsageError(f"{where} of {quoted(config.exact_name)} is that of attachment {quoted(rival.name)}")

    async def _attach(
        self, made: _Made, before: Checkpoint, program: Fd | None, *, permanent: bool
    ) -> AttachmentStatus:
        name, drop_ins = made.config.name, self._stores.drop_ins
        file_before, held = drop_ins.read(name), self._wishes.held_of(name)
        if permanent:
            await asyncio.to_thread(drop_ins.write, made.config)
        try:
            await finish(self._want(made, program, permanent=permanent))
            return await settle(self._reconciler, name, failed=BAD_STATES)
        except LoaderError:
            first = None if program is None else partial(self.adopter.disown, name)
            await self.applier.put_back(lambda: self._wishes.restore(before, held), first=first)
            if permanent:
                with suppress(LoaderError):  # the first error is the one to tell
                    await asyncio.to_thread(drop_ins.restore, name, file_before)
            self._reconciler.forgive(name)
            await self._reconciler.settled()
            raise

    async def _want(self, made: _Made, program: Fd | None, *, permanent: bool) -> None:
        """Want the entry, and take its program over before a pass sees either without the other.

        Such a pass would forget what is noted of a program that it has not seen pinned, and load it anew; or replace it
        with `force`. What is pinned and not wanted would be detached, so it is wanted first.
        """
        async with self._reconciler.writing:
            self._wishes.put(made.config, made.sha1, permanent=permanent)
            self._wishes.release(made.config.name)
            if program is not None:
                await self.adopter.adopt(made.config, made.sha1, program)


def _settled(config: AttachmentConfig) -> dict[str, Any]:
    return {"name": config.name, "program": config.program, "force": config.force}

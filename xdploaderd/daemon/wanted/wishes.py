"""What is wanted: the entries in force, the digests of their objects as read at start or reload, and who is held."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from xdploaderd.config.attachments import AttachmentConfig, claims_of
from xdploaderd.config.interface_match import entry_of
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.plan.actions import Action, Refuse
from xdploaderd.daemon.plan.status import Origin, State
from xdploaderd.daemon.plan.world import Marks, Wanted
from xdploaderd.daemon.state.records import Held
from xdploaderd.daemon.state.restoring import Restoring
from xdploaderd.daemon.state.runtime_entries import Remembered, RuntimeEntries
from xdploaderd.errors import LoaderError
from xdploaderd.limits import DEFAULT_LIMITS, Limits

Digests = Mapping[PurePosixPath, str | LoaderError]
ReadDigest = Callable[[PurePosixPath, Limits], str | LoaderError]


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that was read without an error; `permanent`: the names of the entries that the API made."""

    attachments: tuple[AttachmentConfig, ...]
    pinning: PinningConf
    permanent: frozenset[str] = frozenset()
    limits: Limits = DEFAULT_LIMITS
    protect: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that was wanted at one time."""

    settings: Settings
    runtime: tuple[AttachmentConfig, ...]
    digests: Mapping[str, str | LoaderError]
    retaken: AbstractSet[str] = frozenset()
    remembered: tuple[Remembered, ...] = ()

    @property
    def entries(self) -> tuple[AttachmentConfig, ...]:
        """Return every entry there was."""
        return (*self.settings.attachments, *self.runtime)


class Wishes:
    """The one place where the wanted state changes. The caller pokes the reconciler after that."""

    def __init__(
        self,
        settings: Settings,
        digests: Digests,
        held: Held,
        runtime: RuntimeEntries,
        read: ReadDigest,
        restoring: Restoring | None = None,
    ) -> None:
        self._held = held
        self._read = read
        self._runtime = runtime
        self._settings = settings
        self._to_load: Settings | None = None
        self._digests: dict[str, str | LoaderError] = {}
        self._retaken: set[str] = set()
        self._asked: set[str] = set()  # of these, those that were asked for by name
        self._done: set[str] = set()  # attached since its entry was wanted again
        self._ended: set[str] = set()
        self._restoring = restoring or Restoring()
        self._adopt(settings, self._by_name(settings, digests))

    @property
    def settings(self) -> Settings:
        """Return the configuration in force."""
        return self._settings

    @property
    def settings_to_load(self) -> Settings:
        """Return the configuration that programs are loaded by: one to be put in force, else that in force."""
        return self._settings if self._to_load is None else self._to_load

    @contextmanager
    def loading_by(self, settings: Settings) -> Iterator[None]:
        """Load by a configuration that is not in force yet, in the block."""
        self._to_load = settings
        try:
            yield
        finally:
            self._to_load = None

    @property
    def entries(self) -> tuple[AttachmentConfig, ...]:
        """Return every entry, those of the configuration first."""
        return (*self._settings.attachments, *self._runtime.all())

    def origin_of(self, name: str) -> Origin | None:
        """Return where the entry comes from; None where there is none of that name."""
        return _origins(self._settings, self._runtime.all()).get(name)

    def rival_of(self, entry: AttachmentConfig) -> AttachmentConfig | None:
        """Return another entry that wants the same place."""
        claims = claims_of(entry)
        there = (*self.entries, *self._runtime.absent())
        return next((e for e in there if e.name != entry.name and claims & claims_of(e)), None)

    def remember(self) -> None:
        """Write down what the runtime entries are: a configuration comes on trial. Raises FileError."""
        self._runtime.remember(self._digests)

    def forget(self) -> None:
        """Forget that again: the trial is over."""
        self._runtime.forget()

    def remembered(self) -> tuple[AttachmentConfig, ...]:
        """Return what runtime entries were before the trial, as far as it is not over."""
        return tuple(one.entry for one in self._runtime.remembered())

    def remembered_digests(self) -> AbstractSet[str]:
        """Return the digests of their objects."""
        return frozenset(one.sha1 for one in self._runtime.remembered() if one.sha1)

    def comes_back(self, name: str) -> bool:
        """Return whether a runtime entry of that name gave way to the configuration on trial."""
        return any(entry.name == name for entry in self._runtime.absent())

    def adopt(self, settings: Settings, digests: Digests, *, back: bool = False) -> None:
        """Put a configuration in force, with the digests of all objects; runtime entries give way to it.

        What others took off is wanted again. `back`: it is that of before a trial, and so are the runtime entries.
        """
        before, by_name = self.entries, self._by_name(settings, digests, back=back)
        if back:
            self._runtime.bring_back()
        self._adopt(settings, by_name)
        self._note_ended(before)
        for config in self.entries:
            self._retake(config.name)

    def _adopt(self, settings: Settings, by_name: Mapping[str, str | LoaderError]) -> None:
        self._settings = settings
        self._runtime.yield_to(settings.attachments)
        self._digests = {config.name: by_name[config.name] for config in self.entries}

    def put(self, entry: AttachmentConfig, sha1: str, *, permanent: bool) -> None:
        """Want a new entry, or other values of it, whose object has that digest."""
        configured = [e for e in self._settings.attachments if e.name != entry.name]
        names = self._settings.permanent
        if permanent:
            configured, names = [*configured, entry], names | {entry.name}
        self._settings = replace(self._settings, attachments=tuple(configured), permanent=names)
        runtime = {e.name: e for e in self._runtime.all()}
        runtime.pop(entry.name, None) if permanent else runtime.update({entry.name: entry})
        self._runtime.replace_all(runtime.values())
        self._runtime.changed(entry.name)
        self._digests[entry.name] = sha1
        self._ended.discard(entry.name)
        self.retake(entry.name)

    def drop(self, name: str) -> None:
        """Want an entry no longer."""
        before = self.entries
        configured = tuple(e for e in self._settings.attachments if e.name != name)
        self._settings = replace(self._settings, attachments=configured, permanent=self._settings.permanent - {name})
        self._runtime.replace_all(e for e in self._runtime.all() if e.name != name)
        self._runtime.changed(name)
        self._digests.pop(name, None)
        self.release(name)
        self._note_ended(before)

    def checkpoint(self) -> Checkpoint:
        """Return what is wanted now, for restore()."""
        runtime = self._runtime
        return Checkpoint(
            self._settings, runtime.all(), dict(self._digests), frozenset(self._retaken), runtime.remembered()
        )

    def restore(self, before: Checkpoint, held: Iterable[str] = ()) -> None:
        """Want again what was wanted then, and keep `held` detached."""
        entries = self.entries
        self._settings, self._digests = before.settings, dict(before.digests)
        self._retaken = set(before.retaken)
        self._runtime.replace_all(before.runtime, remembered=before.remembered)
        self._note_ended(entries)
        for name in held:
            self.hold(name)

    def names(self) -> AbstractSet[str]:
        """Return the entries that are wanted, or were since the daemon started and are pinned still."""
        return {*(entry.name for entry in self.entries), *self._ended}

    def ended(self) -> AbstractSet[str]:
        """Return the entries that were wanted since the daemon started, and ended by request."""
        return self._ended

    def _note_ended(self, before: Iterable[AttachmentConfig]) -> None:
        names = {entry.name for entry in self.entries}
        self._ended = (self._ended | {entry.name for entry in before}) - names

    def wanted(self) -> tuple[Wanted, ...]:
        """Return the wanted state as the planner takes it."""
        return self._wanted(self._settings, self.entries, self._digests, self._retaken)

    def preview(self, settings: Settings, digests: Digests, *, back: bool = False) -> tuple[Wanted, ...]:
        """Return the wanted state that `adopt` would bring about."""
        entries, by_name = self._entries_of(settings, back=back), self._by_name(settings, digests, back=back)
        return self._wanted(settings, entries, by_name, set(by_name))

    def _entries_of(self, settings: Settings, *, back: bool) -> tuple[AttachmentConfig, ...]:
        claimed = {claim for config in settings.attachments for claim in claims_of(config)}
        runtime = self._runtime.restored().values() if back else self._runtime.all()
        return (*settings.attachments, *(config for config in runtime if not claimed & claims_of(config)))

    def _by_name(self, settings: Settings, digests: Digests, *, back: bool = False) -> dict[str, str | LoaderError]:
        """Return the digests of the entries' objects; with `back`, those of runtime entries before the trial."""
        entries = self._entries_of(settings, back=back)
        found: dict[str, str | LoaderError] = {config.name: digests[config.object] for config in entries}
        if back:
            configured = {config.name for config in settings.attachments}
            old = {one.entry.name: one.sha1 for one in self._runtime.remembered() if one.sha1}
            found |= {name: sha1 for name, sha1 in old.items() if name in found and name not in configured}
        return found

    def digests(self) -> Mapping[str, str]:
        """Return by entry the digest of the object that is wanted, where it could be read."""
        return {name: found for name, found in self._digests.items() if isinstance(found, str)}

    def used_digests(self) -> AbstractSet[str]:
        """Return the digests of the objects that are wanted, or come back when a trial is over."""
        return {*self.digests().values(), *(one.sha1 for one in self._runtime.remembered())}

    def read_files(self) -> Mapping[PurePosixPath, str]:
        """Return the digests by object; of one that a runtime entry read anew, that of the configuration."""
        known = ((config.object, self._digests.get(config.name)) for config in reversed(self.entries))
        return {path: found for path, found in known if isinstance(found, str)}

    def read_failed_again(self) -> None:
        """Try again to read the objects that could not be read; those that were read stay as they were."""
        for config in self.entries:
            if isinstance(self._digests.get(config.name), LoaderError):
                self._digests[config.name] = self._read(config.object, self._settings.limits)

    def restored(self, name: str) -> None:
        """Take note that the entry's program was put back after somebody else took it off."""
        self._restoring.restored(name)

    def carried_out(self, name: str) -> None:
        """Take note that the entry's program was attached: what was asked for is done."""
        self._retaken.discard(name)
        self._asked.discard(name)
        self._done.add(name)

    def passed(self, actions: Iterable[Action], pinned: Collection[str]) -> None:
        """Take note of what is left to do after a pass, and of all that is pinned then as ours.

        What is not left to do has been taken back; what is not pinned any more need not be remembered. An attachment of
        an entry for several interfaces is done by itself, whatever is left to do on the others.
        """
        left = {action.name: action for action in actions}
        self._retaken &= {*left, *map(entry_of, left)}
        self._asked &= self._retaken
        there = {name for name in pinned if name not in left}
        self._done = {name for name in self._done | there if entry_of(name) in self._retaken}
        for name, action in left.items():
            if isinstance(action, Refuse) and action.state is State.FOREIGN and not self._restoring.allows(name):
                self._restoring.give_up(name)
        known = {one for name in pinned for one in (name, entry_of(name))}
        self._ended &= known
        self._restoring.keep_only(known)

    def retake(self, name: str) -> None:
        """Want the entry's place again, whatever others did there."""
        self._asked.add(name)
        self._retake(name)

    def _retake(self, name: str) -> None:
        self._retaken.add(name)
        self._done -= {name, *_parts_of(name, self._done)}
        self._restoring.forgive(name)

    def hold(self, name: str) -> None:
        """Keep the entry detached."""
        self._held.hold(name)

    def held_of(self, name: str) -> tuple[str, ...]:
        """Return which names of the entry are kept detached: its own, and those on single interfaces."""
        return tuple(sorted(held for held in self._held.names() if entry_of(held) == name))

    def is_held(self, name: str) -> bool:
        """Return whether that very name is kept detached."""
        return name in self._held

    def release(self, name: str) -> None:
        """Let the entry be attached again, on all its interfaces."""
        for held in (name, *_parts_of(name, self._held.names())):
            self._held.release(held)

    def _wanted(
        self,
        settings: Settings,
        entries: Sequence[AttachmentConfig],
        digests: Mapping[str, str | LoaderError],
        retaken: AbstractSet[str],
    ) -> tuple[Wanted, ...]:
        """Join entries, digests, holds, origins and what is known of others' changes."""
        origins = _origins(settings, entries)
        return tuple(
            replace(
                _wanted(config, digests[config.name]),
                held=config.name in self._held,
                origin=origins[config.name],
                retake=config.name in retaken,
                asked=config.name in self._asked,
                may_restore=self._restoring.allows(config.name),
                marks=self._marks(config, retaken),
            )
            for config in entries
        )

    def _marks(self, config: AttachmentConfig, retaken: AbstractSet[str]) -> Marks:
        if not config.several:
            return Marks()
        return Marks(
            held=_parts_of(config.name, self._held.names()),
            retake=_parts_of(config.name, retaken),
            asked=_parts_of(config.name, self._asked),
            exhausted=_parts_of(config.name, self._restoring.exhausted()),
            done=_parts_of(config.name, self._done) if retaken is self._retaken else frozenset(),
        )


def _parts_of(name: str, names: Iterable[str]) -> frozenset[str]:
    """Return the attachments of an entry for several interfaces."""
    return frozenset(n for n in names if n != name and entry_of(n) == name)


def _origins(settings: Settings, entries: Iterable[AttachmentConfig]) -> Mapping[str, Origin]:
    configured = {config.name for config in settings.attachments}
    origins: dict[str, Origin] = {config.name: Origin.RUNTIME for config in entries}
    origins |= dict.fromkeys(configured, Origin.CONFIGURED)
    return origins | dict.fromkeys(configured & settings.permanent, Origin.PERMANENT)


def _wanted(config: AttachmentConfig, found: str | LoaderError) -> Wanted:
    if isinstance(found, LoaderError):
        return Wanted(config=config, problem=found)
    return Wanted(config=config, sha1=found)

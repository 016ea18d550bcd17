"""What outlives a crash and a reboot of `apply --confirm`: the last confirmed configuration, and the one that waits.

`confirmed` in the data directory has the last configuration that came into force for good (daemon.confirmed_values),
with copies of its objects. `pending` has the configuration that waits to be confirmed, by its digest, and until when:
in seconds of the boot clock, which nobody sets. Once it was rolled back the file stays, so that the same files are not
taken for a new configuration at the next start.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.apply.confirmed_values import (
    fingerprint,
    fingerprint_besides,
    objects_of,
    read_back,
    read_pinning_back,
    written,
)
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.state.state_file import read_state, sync_directory, write_state
from xdploaderd.daemon.wanted.object_digest import digest
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.daemon.wanted.wishes import Digests, Settings
from xdploaderd.errors import FileError, LoaderError
from xdploaderd.limits import Limits

log = logging.getLogger(__name__)

_ANY_BOOT: Final = ""  # these files outlive a reboot; `pending` has the boot id among its values


def boot_clock() -> float:
    """Return the seconds since this boot, those of sleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Pending:
    """A configuration that waits to be confirmed, or that was not: `deadline` in seconds of the boot clock.

    `fingerprint` is that of its entries, `besides` that of what else it says, '' where an older daemon wrote it.
    `same`: it is the confirmed one, so what is on trial is objects of runtime entries.
    """

    fingerprint: str
    boot_id: str
    deadline: float
    rejected: bool = False
    same: bool = False
    besides: str = ""

    def is_of(self, values: Mapping[str, Any]) -> bool:
        """Return whether it is the configuration of which confirmed_values.written() returned that."""
        return self.fingerprint == fingerprint(values) and self.besides in ("", fingerprint_besides(values))


class Confirming:
    """The two files. Writing raises FileError; a file that cannot be read, or is damaged, counts as absent.

    `is_damaged`: there is a `pending` that says nothing, so that whether the files were confirmed is not known.
    """

    def __init__(
        self, directory: Path, read: ReadObjects, *, boot_id: str, clock: Callable[[], float] = boot_clock
    ) -> None:
        self._directory = directory
        self.read = read
        self._boot_id = boot_id
        self._clock = clock
        self._objects = KeptObjects(directory / "confirmed-objects", durable=True)
        self._complete = False  # a crash before save() may have left copies that nothing names
        self.pending = read_pending(directory)
        self.is_damaged = (directory / "pending").exists() and not read_state(directory / "pending", boot_id=_ANY_BOOT)

    def waits(self) -> bool:
        """Return whether a configuration waits to be confirmed."""
        return self.pending is not None and not self.pending.rejected

    def seconds_left(self) -> float:
        """Return how long it still waits; 0 where the time is over, or was that of another boot."""
        if self.pending is None or self.pending.rejected or self.pending.boot_id != self._boot_id:
            return 0.0
        return max(0.0, self.pending.deadline - self._clock())

    def begin(self, settings: Settings, digests: Digests, seconds: float) -> None:
        """Write down, before any hook is changed, what is going to wait and until when."""
        new, deadline = written(settings, digests), self._clock() + seconds
        pending = Pending(fingerprint(new), self._boot_id, deadline, besides=fingerprint_besides(new))
        same = pending.is_of(read_state(self._directory / "confirmed", boot_id=_ANY_BOOT))
        self._set(replace(pending, same=same))

    def is_rejected(self, settings: Settings, digests: Digests) -> bool:
        """Return whether that is the configuration which was not confirmed in time."""
        return self.pending is not None and self.pending.rejected and self.pending.is_of(written(settings, digests))

    def reject(self) -> None:
        """Remember that the configuration was rolled back."""
        if self.pending is not None and self.pending.same:
            self.end()
        elif self.pending is not None:
            self._set(replace(self.pending, rejected=True))

    def end(self) -> None:
        """Forget the configuration that waited, or was rejected."""
        try:
            (self._directory / "pending").unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._directory / "pending", error) from error
        self.pending, self.is_damaged = None, False
        with suppress(OSError):  # a power cut could bring it back: that of what is confirmed by now counts as absent
            sync_directory(self._directory)

    def decide(self) -> bool:
        """Let what waited count as confirmed, where what save() wrote down tells that; return whether it does."""
        if self.pending is not None and self.pending.same:
            return False
        self.pending = None
        return True

    def save(self, settings: Settings, digests: Digests) -> None:
        """Keep this configuration as the last confirmed one, with the objects as they were when they were read."""
        path = self._directory / "confirmed"
        values = written(settings, digests)
        known = dict(read_state(path, boot_id=_ANY_BOOT)) == json.loads(json.dumps(values))
        if known and self._complete:
            return
        read = [(name, sha1) for name in objects_of(settings) if isinstance(sha1 := digests[name], str)]
        kept = [self._keep(name, sha1, settings.limits) for name, sha1 in read]
        try:
            if not known:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_state(path, values, boot_id=_ANY_BOOT, durable=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._objects.sweep(path for path in kept if path is not None)
        self._complete = None not in kept

    def confirmed(self, like: Settings) -> tuple[Settings, Digests] | None:
        """Return the last confirmed configuration, with what else `like` says; None where there is none.

        An object that is not as it was is taken from its copy, and without one it is not loaded.
        """
        values = read_state(self._directory / "confirmed", boot_id=_ANY_BOOT)
        settings = read_back(values, like)
        if settings is None:
            return None
        known, limits = values["digests"], settings.limits
        found = {path: self._as_it_was(path, str(known.get(str(path), "")), limits) for path in objects_of(settings)}
        entries = tuple(replace(config, object=found[config.object][0]) for config in settings.attachments)
        return replace(settings, attachments=entries), dict(found.values())

    def pinning(self) -> PinningConf | None:
        """Return the pinning configuration that was confirmed; None where none is known."""
        return read_pinning_back(read_state(self._directory / "confirmed", boot_id=_ANY_BOOT).get("pinning"))

    def protected(self) -> frozenset[str]:
        """Return the interfaces that the last confirmed configuration protects."""
        found = read_state(self._directory / "confirmed", boot_id=_ANY_BOOT).get("protect")
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def protected_with(self, settings: Settings) -> frozenset[str]:
        """Return the interfaces that what is in force protects; while it waits, those of a roll-back's as well."""
        return settings.protect | self.protected() if self.waits() else settings.protect

    def _as_it_was(self, path: PurePosixPath, sha1: str, limits: Limits) -> tuple[PurePosixPath, str | LoaderError]:
        """Return where an object is with that digest ('': any), and its digest."""
        now = self.read.read(path, limits)
        if sha1 in ("", now):
            return path, now
        return self._copy_of(path, sha1) or path, sha1

    def _copy_of(self, path: PurePosixPath, sha1: str) -> PurePosixPath | None:
        return self._objects.find(path.name, lambda raw: digest(raw) == sha1)

    def _keep(self, path: PurePosixPath, sha1: str, limits: Limits) -> PurePosixPath | None:
        try:
            return self._objects.keep(self.read.bytes_of(path, sha1, limits), path.name)
        except LoaderError as error:
            if copy := self._copy_of(path, sha1):
                return copy
            log.warning("no copy of an object of the confirmed configuration is kept: %s", error)
            return None

    def _set(self, pending: Pending) -> None:
        path = self._directory / "pending"
        values = {
            "fingerprint": pending.fingerprint,
            "boot_id": pending.boot_id,
            "deadline": pending.deadline,
            "rejected": pending.rejected,
            "same": pending.same,
            "besides": pending.besides,
        }
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_state(path, values, boot_id=_ANY_BOOT, durable=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        self.pending, self.is_damaged = pending, False


def read_pending(directory: Path) -> Pending | None:
    """Return what `pending` says; None where that was confirmed: the confirmed one is written first."""
    values = read_state(directory / "pending", boot_id=_ANY_BOOT)
    try:
        found = Pending(
            str(values["fingerprint"]),
            str(values["boot_id"]),
            float(values["deadline"]),
            bool(values["rejected"]),
            bool(values.get("same")),
            str(values.get("besides", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None
    confirmed = read_state(directory / "confirmed", boot_id=_ANY_BOOT)
    return None if found.is_of(confirmed) and not found.same else found


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(f"'{path}' cannot be written: {(error.strerror or str(error)).lower()}")

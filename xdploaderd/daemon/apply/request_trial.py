"""An attach or detach on trial: undone by itself unless somebody who still gets through confirms it.

What the entry was before is on disk, with the deadline, before anything changes. It lies with the runtime state: a
reboot forgets both.
"""

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.entry import entry_values, parse_entry
from xdploaderd.config.interface_match import entry_of
from xdploaderd.daemon.apply.confirming import boot_clock
from xdploaderd.daemon.plan.status import Origin
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.daemon.wanted.wishes import Wishes
from xdploaderd.errors import ConfigError, FileError, LoaderError
from xdploaderd.uapi.bpf import ProgId

log = logging.getLogger(__name__)


class OldPrograms(Protocol):
    """Where old programs stay pinned; daemon.before.Before is one."""

    def keep(self) -> None: ...
    def programs(self) -> tuple[tuple[str, ProgId], ...]: ...
    def restore_maps(self) -> None: ...
    def drop(self) -> None: ...
    def lost(self) -> tuple[str, ...]: ...
    def acknowledge(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EntryBefore:
    """What an entry was: its runtime entry, if it had one, with the object's digest, and what of it was held.

    `deadline` in seconds of the boot clock.
    """

    name: str
    deadline: float
    entry: AttachmentConfig | None
    sha1: str
    held: tuple[str, ...]


class RequestTrial:
    """The one change that waits, in a file that counts for one boot; unreadable, it counts as absent."""

    def __init__(
        self,
        path: Path,
        wishes: Wishes,
        old: OldPrograms,
        *,
        boot_id: str,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._clock = clock
        self._path = path
        self._wishes = wishes
        self._old = old
        self._boot_id = boot_id
        self.pending = _read(read_state(path, boot_id=boot_id))

    def waits(self) -> bool:
        """Return whether a change waits to be confirmed."""
        return self.pending is not None

    def seconds_left(self) -> float:
        """Return how long it still waits; 0: the time is over, or none does."""
        return max(0.0, self.pending.deadline - self._clock()) if self.pending is not None else 0.0

    def spared(self) -> tuple[AttachmentConfig, ...]:
        """Return the entries whose objects may be needed again."""
        return (self.pending.entry,) if self.pending is not None and self.pending.entry is not None else ()

    def digests(self) -> AbstractSet[str]:
        """Return the digests of those objects."""
        return {self.pending.sha1} if self.pending is not None else frozenset()

    def begin(self, name: str, seconds: float) -> None:
        """Pin the programs in force once more and write down what the entry is; blocks. Raises FileError, PinError."""
        before = self._now(entry_of(name), self._clock() + seconds)
        self._old.keep()
        try:
            write_state(self._path, _values(before), boot_id=self._boot_id, durable=True)
        except OSError as error:
            self._old.drop()
            raise FileError(f"'{self._path}' cannot be written: {(error.strerror or str(error)).lower()}") from error
        self.pending = before

    def give_up(self) -> None:
        """Let the time of the change be over."""
        if self.pending is not None:
            self.pending = replace(self.pending, deadline=self._clock())

    def undo(self) -> None:
        """Want again what was wanted before; to do it twice does no harm."""
        if (before := self.pending) is None:
            return
        if before.entry is not None:
            self._wishes.put(before.entry, before.sha1, permanent=False)
        elif self._wishes.origin_of(before.name) is Origin.RUNTIME:
            self._wishes.drop(before.name)
        self._wishes.release(before.name)
        self._wishes.retake(before.name)
        for name in before.held:
            self._wishes.hold(name)

    def undone(self) -> None:
        """Give the maps of programs that run again their pins, and forget the change; blocks.

        Raises PinError, FileError; then it waits on.
        """
        if self.pending is not None:
            self._old.restore_maps()
        self.end()

    def end(self) -> None:
        """Forget the change, if one waits: it was confirmed or undone; blocks. Raises FileError; then it waits on."""
        if self.pending is None:
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"'{self._path}' cannot be removed: {(error.strerror or str(error)).lower()}") from error
        self.pending = None
        drop_decided(self._old)

    def _now(self, name: str, deadline: float) -> EntryBefore:
        runtime = self._wishes.origin_of(name) is Origin.RUNTIME
        entry = next((entry for entry in self._wishes.entries if runtime and entry.name == name), None)
        sha1 = self._wishes.checkpoint().digests.get(name, "")
        return EntryBefore(name, deadline, entry, sha1 if isinstance(sha1, str) else "", self._wishes.held_of(name))


def drop_decided(old: OldPrograms) -> None:
    """Remove the pins of old programs; it is decided by then what runs, so one that stays is told in the log."""
    try:
        old.drop()
    except LoaderError as error:
        log.warning("a program that was replaced stays pinned: %s", error, extra={"ERROR_CODE": error.code})


def _values(before: EntryBefore) -> dict[str, Any]:
    return {
        "name": before.name,
        "deadline": before.deadline,
        "entry": entry_values(before.entry) if before.entry is not None else None,
        "sha1": before.sha1,
        "held": list(before.held),
    }


def _read(values: Mapping[str, Any]) -> EntryBefore | None:
    try:
        given, held = values["entry"], tuple(str(name) for name in values["held"])
        entry = parse_entry(given, source="trial") if given is not None else None
        return EntryBefore(str(values["name"]), float(values["deadline"]), entry, str(values["sha1"]), held)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
        return None

"""The entries that came through the API and last until reboot: a file of the state directory.

While a configuration is on trial the file has besides what they were before it, so that those that gave way to it come
back when it is rolled back, whoever does that.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from xdploaderd.config.attachments import AttachmentConfig, claims_of
from xdploaderd.config.entry import entry_values, parse_entry
from xdploaderd.daemon.state.records import StateStore
from xdploaderd.errors import ConfigError, FileError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Remembered:
    """An entry as it was before a configuration came on trial; `sha1` is its object's, '' where that was not read."""

    entry: AttachmentConfig
    sha1: str


class RuntimeEntries:
    """Runtime entries by name, in the order they came; written down at each change."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._store = StateStore(path, boot_id=boot_id)
        values = self._store.read()
        entries = _decode(values.get("entries"), lambda value: parse_entry(value, source=str(path)))
        remembered = _decode(values.get("before"), lambda value: _remembered(value, str(path)))
        self._entries: dict[str, AttachmentConfig] = {config.name: config for config in entries}
        self._before: dict[str, Remembered] = {one.entry.name: one for one in remembered}

    def all(self) -> tuple[AttachmentConfig, ...]:
        """Return the entries."""
        return tuple(self._entries.values())

    def remembered(self) -> tuple[Remembered, ...]:
        """Return what the entries were before a trial, but for those that the API changed since."""
        return tuple(self._before.values())

    def absent(self) -> tuple[AttachmentConfig, ...]:
        """Return the entries that come back when the configuration on trial is rolled back."""
        return tuple(one.entry for name, one in self._before.items() if name not in self._entries)

    def restored(self) -> Mapping[str, AttachmentConfig]:
        """Return what the entries would be after that, by name."""
        return {**self._entries, **{name: one.entry for name, one in self._before.items()}}

    def replace_all(
        self, entries: Iterable[AttachmentConfig], *, remembered: Iterable[Remembered] | None = None
    ) -> None:
        """Let these be the entries, and `remembered` what is, where it is given."""
        self._set(entries, self._before if remembered is None else {one.entry.name: one for one in remembered})

    def remember(self, sha1s: Mapping[str, object]) -> None:
        """Remember the entries, with the digests of their objects. Raises FileError where that cannot be written."""
        digests = {name: sha1 if isinstance(sha1 := sha1s.get(name), str) else "" for name in self._entries}
        self._set(self.all(), {name: Remembered(config, digests[name]) for name, config in self._entries.items()})
        if self._store.dirty:
            self._before = {}
            raise FileError(f"'{self._path}' cannot be written: what gives way could not come back")

    def changed(self, name: str) -> None:
        """Forget what an entry was before the trial, since the API has changed it."""
        self._set(self.all(), {known: one for known, one in self._before.items() if known != name})

    def bring_back(self) -> None:
        """Let what is remembered be the entries again, and forget it; in one step."""
        self._set(self.restored().values(), {})

    def forget(self) -> None:
        """Remember nothing any more."""
        self._set(self.all(), {})

    def yield_to(self, configured: Iterable[AttachmentConfig]) -> None:
        """Drop those whose name or place the configuration claims."""
        claimed = {claim: config for config in configured for claim in claims_of(config)}
        kept = []
        for config in self.all():
            winner = next((claimed[claim] for claim in claims_of(config) if claim in claimed), None)
            if winner is None:
                kept.append(config)
            else:
                until = ", and comes back unless that is confirmed" if config.name in self._before else ""
                text = "runtime attachment '%s' gives way to '%s' of the configuration%s"
                log.warning(text, config.name, winner.name, until)
        self.replace_all(kept)

    def _set(self, entries: Iterable[AttachmentConfig], before: Mapping[str, Remembered]) -> None:
        wanted: dict[str, AttachmentConfig] = {config.name: config for config in entries}
        if (wanted, before) == (self._entries, self._before) and not self._store.dirty:
            return
        self._entries, self._before = wanted, dict(before)
        remembered = [{"entry": entry_values(one.entry), "sha1": one.sha1} for one in before.values()]
        self._store.save({"entries": [entry_values(config) for config in wanted.values()], "before": remembered})


def _remembered(value: Any, source: str) -> Remembered:
    if not isinstance(value, dict):
        raise ConfigError(f"'{source}' has something else than an entry and a digest")
    return Remembered(parse_entry(value.get("entry", {}), source=source), str(value.get("sha1", "")))


def _decode(values: object, parse: Callable[[Any], T]) -> list[T]:
    try:
        return [parse(value) for value in values] if isinstance(values, list) else []
    except ConfigError as error:
        log.warning("runtime attachments are not understood and not used: %s", error)
        return []

"""The entries that came through the API and last until reboot: a file of the state directory."""

import logging
from collections.abc import Iterable
from pathlib import Path

from xdploaderd.config.attachments import AttachmentConfig, claims_of
from xdploaderd.config.entry import entry_values, parse_entry
from xdploaderd.daemon.records import StateStore
from xdploaderd.errors import ConfigError

log = logging.getLogger(__name__)


class RuntimeEntries:
    """Runtime entries by name, in the order they came; written down at each change."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._store = StateStore(path, boot_id=boot_id)
        self._entries = {config.name: config for config in _decode(self._store.read().get("entries"), str(path))}

    def all(self) -> tuple[AttachmentConfig, ...]:
        """Return the entries."""
        return tuple(self._entries.values())

    def replace_all(self, entries: Iterable[AttachmentConfig]) -> None:
        """Let these be the entries."""
        wanted = {config.name: config for config in entries}
        if wanted != self._entries or self._store.dirty:
            self._entries = wanted
            self._store.save({"entries": [entry_values(config) for config in wanted.values()]})

    def yield_to(self, configured: Iterable[AttachmentConfig]) -> None:
        """Forget those whose name or place the configuration claims."""
        claimed = {claim: config for config in configured for claim in claims_of(config)}
        kept = []
        for config in self.all():
            winner = next((claimed[claim] for claim in claims_of(config) if claim in claimed), None)
            if winner is None:
                kept.append(config)
            else:
                log.warning("runtime attachment '%s' gives way to '%s' of the configuration", config.name, winner.name)
        self.replace_all(kept)


def _decode(values: object, source: str) -> list[AttachmentConfig]:
    try:
        return [parse_entry(value, source=source) for value in values] if isinstance(values, list) else []
    except ConfigError as error:
        log.warning("runtime attachments are not understood and not used: %s", error)
        return []

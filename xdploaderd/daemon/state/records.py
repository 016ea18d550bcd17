"""What the daemon remembers between its runs: which file a pinned program came from, and which entries are held.

A cache, never the truth: a record counts only for a program that is pinned, and without one the program is replaced.
When the state directory cannot be written, all stays in memory and is written again by a later pass.
"""

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from xdploaderd.daemon.plan.world import Record
from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.uapi.bpf import Ifindex, ProgId

log = logging.getLogger(__name__)


class StateStore:
    """One file of the state directory and the values it should hold."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._dirty = False
        self._complained = False

    def read(self) -> Mapping[str, Any]:
        """Return what the file holds."""
        return read_state(self._path, boot_id=self._boot_id)

    def save(self, values: Mapping[str, Any]) -> None:
        """Write `values`; a failure is logged once and leaves the store dirty."""
        try:
            write_state(self._path, values, boot_id=self._boot_id)
        except OSError as error:
            if not self._complained:
                log.error("state file '%s' cannot be written, will be tried again: %s", self._path, error.strerror)
            self._dirty = self._complained = True
        else:
            self._dirty = self._complained = False

    @property
    def dirty(self) -> bool:
        """Whether the last write failed."""
        return self._dirty


class Records:
    """The record of every program the daemon loaded and still has pinned, and where it made clsact."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._store = StateStore(path, boot_id=boot_id)
        self._records, self._clsact = _decode_records(self._store.read())

    def find(self, name: str, prog_id: ProgId) -> Record | None:
        """Return the record of an entry's program, if there is one."""
        return self._records.get((name, prog_id))

    def all(self) -> tuple[tuple[tuple[str, ProgId], Record], ...]:
        """Return the record of every entry and program."""
        return tuple(self._records.items())

    def put(self, prog_id: ProgId, record: Record) -> None:
        """Remember a program; before it is attached, so that a crash after that still knows it."""
        self.put_all([(prog_id, record)])

    def put_all(self, records: Iterable[tuple[ProgId, Record]]) -> None:
        """Remember several, in one write."""
        found = {(record.attachment, prog_id): record for prog_id, record in records}
        if any(self._records.get(key) != record for key, record in found.items()):
            self._records |= found
            self._save()

    def forget(self, name: str, kept: Iterable[tuple[str, ProgId]]) -> None:
        """Forget the programs of an entry but these."""
        others = (key for key in self._records if key[0] != name)
        self.keep_only((*others, *kept))

    def keep_only(self, pinned: Iterable[tuple[str, ProgId]]) -> None:
        """Forget every program of an entry but these; write again what could not be written before."""
        kept = frozenset(pinned)
        gone = [key for key in self._records if key not in kept]
        for key in gone:
            del self._records[key]
        if gone or self._store.dirty:
            self._save()

    def clsact_was_made(self, ifindex: Ifindex) -> None:
        """Remember that clsact of that interface is the daemon's."""
        self._clsact.add(ifindex)
        self._save()

    def made_clsact(self, ifindex: Ifindex) -> bool:
        """Return whether clsact of that interface is the daemon's."""
        return ifindex in self._clsact

    def clsacts(self) -> AbstractSet[Ifindex]:
        """Return the interfaces on which clsact is the daemon's."""
        return frozenset(self._clsact)

    def keep_clsact_of(self, ifindexes: AbstractSet[Ifindex]) -> None:
        """Forget about clsact of interfaces that are gone: the kernel gives an index to one interface only."""
        if not self._clsact <= ifindexes:
            self._clsact &= ifindexes
            self._save()

    def _save(self) -> None:
        programs = {f"{prog_id} {name}": record.to_json() for (name, prog_id), record in self._records.items()}
        self._store.save({"programs": programs, "clsact": sorted(self._clsact)})


class Held:
    """Names that `detach NAME` took off, until `attach NAME` or reboot."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._store = StateStore(path, boot_id=boot_id)
        names = self._store.read().get("held", [])
        self._names = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def names(self) -> AbstractSet[str]:
        """Return every name that is held."""
        return self._names

    def hold(self, name: str) -> None:
        """Keep `name` detached."""
        if name not in self._names or self._store.dirty:
            self._names.add(name)
            self._save()

    def release(self, name: str) -> None:
        """Let `name` be attached again."""
        if name in self._names or self._store.dirty:
            self._names.discard(name)
            self._save()

    def _save(self) -> None:
        self._store.save({"held": sorted(self._names)})


def _decode_records(values: Mapping[str, Any]) -> tuple[dict[tuple[str, ProgId], Record], set[Ifindex]]:
    try:
        found = [(_prog_id(key), Record.from_json(value)) for key, value in values.get("programs", {}).items()]
        records = {(record.attachment, prog_id): record for prog_id, record in found}
        return records, {Ifindex(int(index)) for index in values.get("clsact", ())}
    except (ValueError, TypeError, KeyError, AttributeError):
        log.warning("the records of loaded programs are not understood and not used")
        return {}, set()


def _prog_id(key: str) -> ProgId:
    """Return the program of a key, which older daemons wrote without the entry's name."""
    return ProgId(int(key.partition(" ")[0]))

"""Which object files are no longer what was read of them, told from stat(2); read again where that changed."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from xdploaderd.daemon.plan.status import AttachmentStatus
from xdploaderd.daemon.wanted.object_digest import digest
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import LoaderError
from xdploaderd.limits import DEFAULT_LIMITS, Limits

CHANGED: Final = "the object's file changed on disk: a reload loads it"
_SETTLED: Final = 1_000_000_000  # ns: a file that is younger may change again without another time stamp
_MAX_FILES: Final = 4096

_Seen = tuple[int, int, int, int, int]


class FileChanges:
    """Remembers, by file, what it was found to be. Any thread may call."""

    def __init__(self) -> None:
        self._known: dict[PurePosixPath, tuple[_Seen, str]] = {}

    def noted(self, statuses: Sequence[AttachmentStatus], digests: Mapping[str, str]) -> tuple[AttachmentStatus, ...]:
        """Add to each status, by its entry's digest, what is to be told of the object's file."""
        read = [(PurePosixPath(status.object), digests.get(status.entry, "")) for status in statuses]
        notes = {one: self.note_of(*one) for one in set(read)}
        both = zip(statuses, read, strict=True)
        return tuple(replace(one, note="; ".join(filter(None, (one.note, notes[of])))) for one, of in both)

    def note_of(self, path: PurePosixPath, sha1: str, limits: Limits = DEFAULT_LIMITS) -> str:
        """Return what a user is told of a file that was read with that digest; empty where it is as it was."""
        if not sha1:
            return ""  # it could not be read, which the status tells
        try:
            seen = _look(path)
        except OSError as error:
            return f"the object's file is not there any more ({(error.strerror or str(error)).lower()}): a copy is used"
        known = self._known.get(path)
        if known is None or known[0] != seen:
            try:
                known = seen, digest(read_object(path, limits))
            except LoaderError as error:
                return f"the object's file changed on disk: {error}"
            if len(self._known) >= _MAX_FILES:
                self._known.clear()
            if time.time_ns() - max(seen[3:]) > _SETTLED:
                self._known[path] = known
        return "" if known[1] == sha1 else CHANGED


def _look(path: PurePosixPath) -> _Seen:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

"""The bytes of objects as the last start or reload read them: until the next one, all that is loaded comes from these.

What becomes of the files meanwhile does not matter: a copy of each is kept until reboot. Digests and records name it by
its SHA-1. One that is damaged or missing is made anew while the file is still as it was read; else nothing is loaded.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.state.kept_objects import KeptObjects
from xdploaderd.daemon.state.records import StateStore
from xdploaderd.daemon.wanted.object_digest import digest
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.daemon.wanted.wishes import Digests
from xdploaderd.errors import FileError, LoaderError
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.printable import quoted

log = logging.getLogger(__name__)

COPY = "object.o"  # the file name of each, since files of several names may have the same bytes


class ReadObjects:
    """Copies below `kept`, and which file each was read from, in the state file `path`. Any thread may call.

    What lies in one of `stores` is a copy already and gets no other. That a copy cannot be kept is logged and no error.
    """

    def __init__(self, kept: KeptObjects, path: Path, *, boot_id: str, stores: Sequence[KeptObjects] = ()) -> None:
        self._kept = kept
        self._stores = (kept, *stores)
        self._index = StateStore(path, boot_id=boot_id)
        self._lock = RLock()
        self._files, self._copies = _decode(self._index.read())  # digests by file, copies by digest
        self._written = _encode(self._files, self._copies)
        self._unkept: dict[str, tuple[PurePosixPath, Limits]] = {}  # files of digests that there is no copy of

    def read_all(self, entries: Iterable[AttachmentConfig], limits: Limits = DEFAULT_LIMITS) -> Digests:
        """Read the objects that the entries name, each file once; return their digests, or why there is none."""
        return {path: self.read(path, limits) for path in {config.object for config in entries}}

    def read_at_start(self, entries: Iterable[AttachmentConfig], limits: Limits = DEFAULT_LIMITS) -> Digests:
        """Likewise; a file that cannot be read now stays what it was when it was read last in this boot."""
        before = dict(self._files)
        found = self.read_all(entries, limits)
        return {path: _or_before(path, one, before.get(path)) for path, one in found.items()}

    def read(self, path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> str | LoaderError:
        """Read an object and keep it; return its digest, or why there is none."""
        try:
            return self.put(path, self._read(path, limits), limits)
        except LoaderError as error:
            return error

    def read_first(self, path: PurePosixPath, limits: Limits = DEFAULT_LIMITS) -> str | LoaderError:
        """Likewise, for a file that could not be read before: it is what was read of it from now on."""
        found = self.read(path, limits)
        if isinstance(found, str):
            with self._lock:
                self._files[path] = found
                self._save()
        return found

    def put(self, path: PurePosixPath, raw: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
        """Keep what was read from a file and return its digest."""
        sha1 = digest(raw)
        with self._lock:
            try:
                self._keep(path, sha1, raw)
            except LoaderError as error:
                self._unkept[sha1] = path, limits
                log.warning("'%s' should stay as it is until a reload, since no copy of it is kept: %s", path, error)
        return sha1

    def bytes_of(self, path: PurePosixPath, sha1: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
        """Return the bytes that were read from the file and have that digest; raise FileError where they are lost."""
        with self._lock:
            copy = self._copies.get(sha1)
            if copy is not None:
                try:
                    return self._read(copy, limits)
                except FileError as error:
                    log.warning("%s; its file is looked at instead", error)
            raw = self._read_again(path, sha1, limits)
            self.put(path, raw, limits)
            return raw

    def keep_missing(self) -> None:
        """Try again to keep what could not be kept, where its file is still as it was read."""
        with self._lock:
            for sha1, (path, limits) in tuple(self._unkept.items()):
                try:
                    raw = self._read_again(path, sha1, limits)
                except LoaderError:
                    del self._unkept[sha1]
                    continue
                with suppress(LoaderError):
                    self._keep(path, sha1, raw)

    def keep_only(self, files: Mapping[PurePosixPath, str], more: AbstractSet[str]) -> None:
        """Remember these digests of files, and remove every copy but of them and of `more`."""
        used = {*files.values(), *more}
        with self._lock:
            self._files = dict(files)
            self._copies = {sha1: copy for sha1, copy in self._copies.items() if sha1 in used}
            self._unkept = {sha1: file for sha1, file in self._unkept.items() if sha1 in used}
            self._save()
            self._kept.sweep(self._copies.values())

    def _save(self) -> None:
        now = _encode(self._files, self._copies)
        if now != self._written or self._index.dirty:
            self._index.save(now)
            self._written = now

    def _keep(self, path: PurePosixPath, sha1: str, raw: bytes) -> None:
        if any(store.has(path) for store in self._stores):
            self._copies.setdefault(sha1, path)
        else:
            self._copies[sha1] = self._kept.keep(raw, COPY)
        self._unkept.pop(sha1, None)

    def _read(self, path: PurePosixPath, limits: Limits) -> bytes:
        raw = read_object(path, limits)
        for store in self._stores:
            store.check(path, raw)
        return raw

    def _read_again(self, path: PurePosixPath, sha1: str, limits: Limits) -> bytes:
        raw = self._read(path, limits)
        if digest(raw) != sha1:
            raise FileError(
                f"object {quoted(str(path))} is not what was read at the last start or reload, and no copy of that is"
                " left; a reload takes it as it is now"
            )
        return raw


def _or_before(path: PurePosixPath, found: str | LoaderError, before: str | None) -> str | LoaderError:
    if before is None or isinstance(found, str):
        return found
    log.warning("%s; what was read before in this boot is used", found)
    return before


def _encode(files: Mapping[PurePosixPath, str], copies: Mapping[str, PurePosixPath]) -> Mapping[str, Any]:
    return {
        "files": {str(path): sha1 for path, sha1 in files.items()},
        "copies": {sha1: str(copy) for sha1, copy in copies.items()},
    }


def _decode(values: Mapping[str, Any]) -> tuple[dict[PurePosixPath, str], dict[str, PurePosixPath]]:
    try:
        files = {PurePosixPath(path): str(sha1) for path, sha1 in values.get("files", {}).items()}
        return files, {str(sha1): PurePosixPath(copy) for sha1, copy in values.get("copies", {}).items()}
    except (TypeError, AttributeError):
        log.warning("what is known of the objects read before is not understood and not used")
        return {}, {}

"""Object bytes that came by descriptor, kept for entries that outlive the request: DIRECTORY/SHA256/FILENAME.

A directory for each content, so that an object keeps the file name that its maps are named after. Files appear whole or
not at all, belong to the daemon's user alone, and go when no entry names them.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from xdploaderd.daemon.state.new_file import write_new
from xdploaderd.daemon.state.state_file import sync_directory
from xdploaderd.errors import FileError, LimitError
from xdploaderd.printable import quoted

log = logging.getLogger(__name__)

NAME_MAX: Final = 255  # bytes of a file name (NAME_MAX of limits.h)
MAX_BYTES: Final = 256 << 20  # of all kept objects in one directory
TRIES: Final = 3  # at removing one
_UNNAMED: Final = "object.o"


class KeptObjects:
    """The objects below one directory, which is made when the first one is kept. Raises FileError, LimitError."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self._directory = directory
        self._durable = durable

    def keep(self, raw: bytes, name: str) -> PurePosixPath:
        """Write the bytes, unless they are here already, and return their path."""
        path = self._directory / hashlib.sha256(raw).hexdigest() / file_name(name)
        try:
            if path.exists() and path.read_bytes() == raw:
                return PurePosixPath(path)
            self._check_room(len(raw))
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._write(path, raw)
        except OSError as error:
            raise FileError(
                f"object cannot be kept at {quoted(str(path))}: {(error.strerror or str(error)).lower()}"
            ) from error
        return PurePosixPath(path)

    def has(self, path: PurePosixPath) -> bool:
        """Return whether an object of that path would be one of these."""
        return Path(path).parent.parent == self._directory

    def check(self, path: PurePosixPath, raw: bytes) -> None:
        """Raise FileError where these are read from an object kept here, and are not the bytes that were kept."""
        if self.has(path) and hashlib.sha256(raw).hexdigest() != path.parent.name:
            raise FileError(f"object {quoted(str(path))} is damaged: its bytes are not those that were kept")

    def find(self, name: str, fits: Callable[[bytes], bool]) -> PurePosixPath | None:
        """Return an object of that file name whose bytes fit."""
        for path in self._directory.glob("*/*"):
            with suppress(OSError):
                if path.name == file_name(name) and fits(path.read_bytes()):
                    return PurePosixPath(path)
        return None

    def sweep(self, used: Iterable[PurePosixPath]) -> None:
        """Remove what no entry names; what cannot be removed is logged and stays until the next sweep."""
        kept = {Path(path) for path in used}
        try:
            directories = tuple(self._directory.iterdir())
        except FileNotFoundError:  # nothing was ever kept
            return
        except OSError as error:
            log.warning("unused objects below '%s' cannot be removed: %s", self._directory, error.strerror)
            return
        for directory in directories:
            _tried(directory, partial(_clear, directory, kept))

    def drop(self, paths: Iterable[PurePosixPath]) -> None:
        """Remove these objects, where they are kept here; what cannot be removed is logged and stays."""
        for path in map(Path, paths):
            if self.has(PurePosixPath(path)):
                _tried(path, partial(path.unlink, missing_ok=True))
                with suppress(OSError):  # the same bytes are kept under another name as well
                    path.parent.rmdir()

    def _check_room(self, more: int) -> None:
        used = sum(file.stat().st_size for file in self._directory.glob("*/*"))
        if used + more > MAX_BYTES:
            raise LimitError(f"objects below '{self._directory}' would take {used + more} bytes, at most {MAX_BYTES}")

    def _write(self, path: Path, raw: bytes) -> None:
        new = path.parent / ".new"
        try:
            write_new(new, raw, mode=0o600, durable=self._durable)
            new.replace(path)
        except OSError:
            with suppress(OSError):  # a full disk would stay full of it
                new.unlink()
                new.parent.rmdir()
            raise
        if self._durable:
            for directory in (path.parent, path.parent.parent):
                sync_directory(directory)


def _clear(directory: Path, kept: AbstractSet[Path]) -> None:
    """Remove the files of a directory but these, and itself where none is left."""
    for file in tuple(directory.iterdir()):
        if file not in kept:
            file.unlink(missing_ok=True)
    if all(path.parent != directory for path in kept):
        directory.rmdir()


def _tried(what: Path, remove: Callable[[], None]) -> None:
    """Call it, and again where it fails; what stays is logged."""
    for left in reversed(range(TRIES)):
        try:
            remove()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if not left:
                log.warning("unused object '%s' cannot be removed: %s", what, error.strerror)


def file_name(name: str) -> str:
    """Return the last component of a client's path, where it can be a file's name and be printed."""
    last = PurePosixPath(name).name
    usable = last.isprintable() and not last.startswith(".") and 0 < len(last.encode()) <= NAME_MAX
    return last if usable else _UNNAMED

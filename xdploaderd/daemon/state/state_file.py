"""A small file of the state directory: JSON behind its checksum, replaced as a whole, void after a reboot.

The first line is the SHA-256 of the rest. A file that is torn, changed, of another version or of another boot counts
as absent: all that is kept so can be found out again or costs one replace.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

VERSION = 1
SIZE_LIMIT = 16 * 1024 * 1024  # bytes
_NEW = ".new"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_state(path: Path, *, boot_id: str) -> Mapping[str, Any]:
    """Return the values of `write_state`; nothing where there is no file, or none that holds for this boot."""
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT)
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("state file '%s' cannot be read: %s", path, error.strerror)
        return {}
    checksum, _, body = raw.partition(b"\n")
    if checksum != _checksum(body):
        log.warning("state file '%s' is damaged and not used", path)
        return {}
    try:
        content = json.loads(body)
        version = content["version"]
        values: Any = content["values"] if (version, content["boot_id"]) == (VERSION, boot_id) else {}
    except (ValueError, TypeError, KeyError):
        version, values = VERSION, None
    if isinstance(version, int) and version > VERSION:
        log.warning("state file '%s' is of version %d and not used: this daemon knows %d", path, version, VERSION)
    if not isinstance(values, dict):
        log.warning("state file '%s' is not understood and not used", path)
        return {}
    return values


def write_state(path: Path, values: Mapping[str, Any], *, boot_id: str, durable: bool = False) -> None:
    """Replace the file by one that holds `values`; raise OSError and leave the old one where that fails.

    `durable`: it survives a power cut, which what is of this boot alone need not.
    """
    body = json.dumps({"version": VERSION, "boot_id": boot_id, "values": values}, sort_keys=True).encode()
    old = _bytes_of(path) if durable else None
    _replace(path, _checksum(body) + b"\n" + body, durable=durable)
    if not durable:
        return
    try:
        sync_directory(path.parent)
    except OSError:
        with suppress(OSError):  # the first error is the one to tell
            path.unlink() if old is None else _replace(path, old, durable=True)
        raise


def sweep_unfinished(directory: Path) -> None:
    """Remove what a crash left of files that were being replaced; what cannot be removed stays until they are."""
    with suppress(OSError):
        for path in directory.glob(f"*{_NEW}"):
            path.unlink()


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, raw: bytes, *, durable: bool) -> None:
    new = path.with_name(path.name + _NEW)
    with new.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(raw)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)


def sync_directory(directory: Path) -> None:
    """Let the names in a directory survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_boot_id() -> str:
    """Return the id of this boot (random(4))."""
    return BOOT_ID.read_text().strip()


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()

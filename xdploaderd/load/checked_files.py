"""Configuration files read with care: bounded, regular, and changeable by nobody but root and the caller."""

import os
import stat
from pathlib import Path

from xdploaderd.errors import ConfigError, FileError
from xdploaderd.printable import quoted

MAX_CONFIG_SIZE = 1 << 20  # bytes


def read_config_file(path: Path) -> bytes:
    """Return the contents of a configuration file.

    Raises FileError where it cannot be opened, ConfigError where it is no regular file, larger than 1 MiB, or where
    somebody else could change it: the file and each directory above it must belong to root or the caller and be
    writable by its owner only (a sticky directory may be writable by others, as /tmp is).
    """
    try:
        # O_NONBLOCK: a FIFO in place of the file must not hold us up
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check_parents(path)
            _check_file(path, os.fstat(fd))
            with os.fdopen(fd, "rb", closefd=False) as file:
                return file.read(MAX_CONFIG_SIZE)
        finally:
            os.close(fd)
    except OSError as error:
        raise FileError(f"cannot read {quoted(str(path))}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise FileError(f"{quoted(str(path))} is not a path, it contains NUL") from None


def is_present(path: Path) -> bool:
    """Return whether there is something of that name, which may yet turn out not to be readable."""
    return os.path.lexists(path)


def is_masked(path: Path) -> bool:
    """Return whether the file is a symbolic link to /dev/null: the administrator's way to switch it off."""
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def _check_file(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError(f"{quoted(str(path))} is not a regular file")
    if info.st_size > MAX_CONFIG_SIZE:
        raise ConfigError(f"{quoted(str(path))} has {info.st_size} bytes, at most {MAX_CONFIG_SIZE} are read")
    _check_owner(path, info)


def _check_parents(path: Path) -> None:
    """Check the directories of the path as written and, where links are on the way, those of the real file."""
    absolute = Path(os.path.abspath(path))
    for directory in {*absolute.parents, *Path(os.path.realpath(path)).parents}:
        _check_owner(directory, directory.stat())


def _check_owner(path: Path, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{quoted(str(path))} belongs to user {info.st_uid}, want root: its owner could change it")
    sticky_directory = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky_directory:
        mode = stat.S_IMODE(info.st_mode)
        raise ConfigError(f"{quoted(str(path))} has mode {mode:04o}, want no write permission for group and others")

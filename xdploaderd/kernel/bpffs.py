"""The BPF file system: check, make directories, list, unpin (kernel/bpf/inode.c).

Whoever can write to a directory of a pin path decides what is found there; so every component on the BPF file system
must belong to root or to us, and no directory there may be writable by others unless it is sticky.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from xdploaderd.errors import PinError
from xdploaderd.kernel.syscall import filesystem_magic
from xdploaderd.uapi.bpf import BPF_FS_MAGIC

PIN_DIR_MODE = 0o700
_DEPTH_MAX = 32
_ROOT_UID = 0
_NO_DOTS = "a BPF file system takes no name with a dot"


def is_bpffs(path: PurePosixPath) -> bool:
    """Tell whether an existing path lies on a BPF file system; False for one that cannot be looked at."""
    try:
        return filesystem_magic(str(path)) == BPF_FS_MAGIC
    except OSError:
        return False


def is_bpffs_root(path: PurePosixPath) -> bool:
    """Tell whether `path` is where a BPF file system is mounted."""
    return is_bpffs(path) and os.path.ismount(path)


def make_pin_dir(path: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Make a directory and its missing parents, mode 0700, on a BPF file system; return those made, outermost first.

    Raises PinError when the path does not lie on a BPF file system, or leads through something that is no directory
    or that a third party controls; then nothing made is left.
    """
    check_plain(path)
    made: list[PurePosixPath] = []
    try:
        made.extend(directory for directory in (*reversed(path.parents), path) if _ensure_dir(directory))
    except PinError:
        remove_dirs(made)
        raise
    if not is_bpffs(path):
        remove_dirs(made)
        raise PinError(f"'{path}' does not lie on a BPF file system")
    return tuple(made)


def check_plain(path: PurePosixPath) -> None:
    """Raise PinError for a path that only means something from some directory, or that climbs."""
    if not path.is_absolute():
        raise PinError(f"'{path}' is a relative path, wanted an absolute one")
    if ".." in path.parts:
        raise PinError(f"'{path}' contains '..', wanted a path without")


def check_pin_path(path: PurePosixPath) -> None:
    """Raise PinError when a third party decides what is found at `path`; what does not exist is nobody's."""
    for directory in reversed(path.parents):
        if not os.path.lexists(directory):
            return
        _ensure_dir(directory)
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        _check_owner(path, status)


def _ensure_dir(path: PurePosixPath) -> bool:
    """Check one component, making it when its parent lies on a BPF file system; tell whether it was made."""
    try:
        own = os.lstat(path)
        target = os.stat(path)
    except FileNotFoundError:
        return _make_dir(path)
    except OSError as error:
        raise _failed(path, error) from None
    if not stat.S_ISDIR(target.st_mode):
        raise PinError(f"'{path}' is no directory")
    if is_bpffs(path.parent) or stat.S_ISLNK(own.st_mode):
        _check_owner(path, own)
    if is_bpffs(path):
        _check_owner(path, target)
        if target.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not target.st_mode & stat.S_ISVTX:
            raise PinError(f"'{path}' can be written by others and is not sticky")
    return False


def _make_dir(path: PurePosixPath) -> bool:
    if not is_bpffs(path.parent):
        raise PinError(f"'{path.parent}' does not lie on a BPF file system")
    if "." in path.name:
        raise PinError(f"'{path}': {_NO_DOTS}")
    try:
        os.mkdir(path, PIN_DIR_MODE)
    except FileExistsError:  # a dangling link, or somebody was faster
        _check_owner(path, os.lstat(path))
        return False
    except OSError as error:
        raise _failed(path, error) from None
    try:
        os.chmod(path, PIN_DIR_MODE)  # whatever the umask took
    except OSError as error:
        remove_dirs([path])
        raise _failed(path, error) from None
    return True


def _check_owner(path: PurePosixPath, status: os.stat_result) -> None:
    if status.st_uid not in (_ROOT_UID, os.geteuid()):
        raise PinError(f"'{path}' belongs to user {status.st_uid}, wanted root or user {os.geteuid()}")


def remove_dirs(paths: tuple[PurePosixPath, ...] | list[PurePosixPath]) -> None:
    """Remove the directories of make_pin_dir again, innermost first; those that others use by now are kept."""
    for path in reversed(paths):
        try:
            os.rmdir(path)
        except OSError:
            return


def unpin(path: PurePosixPath) -> bool:
    """Remove a pin; False when there is none. Refuses anything that is not a pin on a BPF file system."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or not is_bpffs(path):
            raise PinError(f"'{path}' is no pin")
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(path, error) from None
    return True


def pins_under(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """Yield every pin below a directory, in order of name; nothing when it does not exist. Links are not followed."""
    yield from pins_among(path, list_dir(path))


def pins_among(path: PurePosixPath, entries: Iterable[os.DirEntry[str]]) -> Iterator[PurePosixPath]:
    """Yield every pin among these entries of a directory, and below them."""
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if len(path.parts) < _DEPTH_MAX:
                yield from pins_under(path / entry.name)
        elif entry.is_file(follow_symlinks=False):
            yield path / entry.name


def list_dir(path: PurePosixPath) -> list[os.DirEntry[str]]:
    """Return the entries of a directory in order of name, none when it does not exist. Raises PinError."""
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _failed(path, error) from None


def _failed(path: PurePosixPath, error: OSError) -> PinError:
    if error.errno == errno.EPERM and any("." in part for part in path.parts):
        return PinError(f"'{path}': {_NO_DOTS}")
    return PinError(f"'{path}': {os.strerror(error.errno or 0).lower()}")

"""The files of the attachment configuration: xdploaderd.yaml and conf.d/*.yaml of /etc, /run and /usr/lib."""

from dataclasses import dataclass
from pathlib import Path

from xdploaderd.config.attachments import (
    AttachmentConfig,
    AttachmentFile,
    merge_attachments,
    merge_limits,
    read_attachment_file,
)
from xdploaderd.errors import ConfigError
from xdploaderd.limits import DEFAULT_LIMITS, Limits
from xdploaderd.load.checked_files import read_config_file
from xdploaderd.load.config_places import CONFIG_DIRS, CONFIG_FILE, DROP_IN_DIR, config_files


@dataclass(frozen=True, slots=True)
class Attachments:
    """All configured attachments and the files they come from, in the order read."""

    attachments: tuple[AttachmentConfig, ...] = ()
    sources: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    protect: frozenset[str] = frozenset()


def read_attachments(path: Path = CONFIG_FILE) -> Attachments:
    """Return the configured attachments.

    CONFIG_FILE stands for the system's configuration: the main file and the drop-ins of CONFIG_DIRS, where a file
    masks those of its name in later directories and a link to /dev/null switches the name off. A directory is read as
    the only one of these, any other path as a single file. Raises ConfigError with all faults of all files, FileError
    where a file cannot be read.
    """
    files = _files_of(path)
    read = [_read(file) for file in files]
    merged = merge_attachments(read)
    protect = frozenset(name for file in read for name in file.protect)
    return Attachments(merged, tuple(map(str, files)), merge_limits(read), protect)


def drop_in_dir(path: Path) -> Path | None:
    """Return the directory where a drop-in for the configuration `path` goes; None for a single file."""
    if path == CONFIG_FILE:
        return CONFIG_DIRS[0] / DROP_IN_DIR
    return path / DROP_IN_DIR if path.is_dir() else None


def _files_of(path: Path) -> tuple[Path, ...]:
    if path == CONFIG_FILE:
        return config_files(*CONFIG_DIRS)
    return config_files(path) if path.is_dir() else (path,)


def _read(file: Path) -> AttachmentFile:
    try:
        raw = read_config_file(file)
    except ConfigError as error:
        return AttachmentFile(problems=(error,))
    return read_attachment_file(raw, source=str(file))

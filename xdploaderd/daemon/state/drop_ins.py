"""Entries that the API made permanent: conf.d/50-NAME.yaml, one entry in each, marked as the daemon's own.

Files are written whole and read back before they count; a file without the mark is the administrator's, and stays.
"""

from contextlib import suppress
from pathlib import Path

from xdploaderd.config.attachments import AttachmentConfig, parse_attachments
from xdploaderd.config.entry import entry_yaml
from xdploaderd.daemon.state.new_file import write_new
from xdploaderd.daemon.state.state_file import sync_directory
from xdploaderd.errors import ConfigError, FileError, UsageError
from xdploaderd.load.checked_files import read_config_file
from xdploaderd.printable import quoted

MARK = b"# made by xdploaderd: `xdploaderctl detach --permanent NAME` removes it\n"
_PREFIX, _SUFFIX = "50-", ".yaml"


class DropIns:
    """The daemon's own files in one conf.d; `directory` None: the configuration has none. Raises FileError."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def names(self) -> frozenset[str]:
        """Return the names of the entries that are made here."""
        if self._directory is None:
            return frozenset()
        files = self._directory.glob(f"{_PREFIX}*{_SUFFIX}")
        names = (file.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for file in files)
        return frozenset(name for name in names if self.read(name) is not None)

    def read(self, name: str) -> bytes | None:
        """Return the file of an entry; None where there is none with our mark."""
        if self._directory is None:
            return None
        try:
            raw = (self._directory / _file(name)).read_bytes()
        except OSError:
            return None
        return raw if raw.startswith(MARK) else None

    def write(self, config: AttachmentConfig) -> Path:
        """Write the file of an entry and read it back; a failure leaves the file that was there before."""
        path = self._path(config.name)
        if path.exists() and self.read(config.name) is None:
            raise UsageError(f"{quoted(str(path))} exists and is not the daemon's: rename it, or give another name")
        new = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_new(new, MARK + entry_yaml(config).encode(), mode=0o644, durable=True)
            if parse_attachments(read_config_file(new), source=str(path)) != (config,):
                raise ConfigError(f"'{path}' would not say what was asked for")
            new.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from error
        finally:
            with suppress(OSError):
                new.unlink()
        return path

    def restore(self, name: str, raw: bytes | None) -> None:
        """Bring back what read() returned."""
        path = self._path(name)
        try:
            if raw is None:
                path.unlink(missing_ok=True)
            else:
                new = path.with_name(f".{path.name}.new")
                write_new(new, raw, mode=0o644, durable=True)
                new.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from error

    def _path(self, name: str) -> Path:
        if self._directory is None:
            raise UsageError("the daemon runs with a single configuration file: nothing can be made permanent")
        return self._directory / _file(name)


def _file(name: str) -> str:
    return f"{_PREFIX}{name}{_SUFFIX}"


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(f"{quoted(str(path))} cannot be written: {(error.strerror or str(error)).lower()}")

"""What the system needs besides the package: units, D-Bus policy, examples, manual pages, commands in PATH.

`install-system` writes them from package data (or from the checkout), records what it wrote, and never touches a file
that is not as it wrote it last; `uninstall-system` removes what is recorded and unchanged.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import xdploaderd
from xdploaderd.errors import FileError, UsageError
from xdploaderd.manpage import man_page

COMMANDS = ("install-system", "uninstall-system")
RECORD = "var/lib/xdploaderd/installed.json"
UNITS = "usr/local/lib/systemd/system"
FILES: Mapping[str, str] = {  # where each file goes, below the root; its source below the data folder
    f"{UNITS}/xdploaderd.service": "systemd/xdploaderd.service",
    f"{UNITS}/xdploaderd.socket": "systemd/xdploaderd.socket",
    "usr/local/lib/tmpfiles.d/xdploaderd.conf": "systemd/xdploaderd.tmpfiles",
    "etc/dbus-1/system.d/org.xdploaderd1.conf": "config/org.xdploaderd1.conf",
    "etc/xdploaderd/xdploaderd.yaml.example": "config/xdploaderd.yaml.example",
    "etc/libbpf/pinning.conf.example": "etc/libbpf/pinning.conf.example",
    "usr/local/share/man/man8/xdploaderd.8": "docs/xdploaderd.8.md",
    "usr/local/share/man/man1/xdploaderctl.1": "docs/xdploaderctl.1.md",
    "usr/local/share/man/man8/xdploaderctl-ip.8": "docs/xdploaderctl-ip.8.md",
    "usr/local/share/man/man8/xdploaderctl-tc.8": "docs/xdploaderctl-tc.8.md",
    "usr/local/share/man/man5/pinning.conf.5": "docs/pinning.conf.5.md",
    "usr/local/share/man/man5/xdploaderd.yaml.5": "docs/xdploaderd.yaml.5.md",
    "usr/local/share/man/man5/org.xdploaderd1.5": "docs/org.xdploaderd1.5.md",
}
LINKS = {"usr/local/sbin/xdploaderd": "xdploaderd", "usr/local/bin/xdploaderctl": "xdploaderctl"}
TOOL_LINKS = {
    "usr/local/sbin/ip": "xdploaderctl",
    "usr/local/sbin/tc": "xdploaderctl",
}  # if asked for: before /usr/sbin
BINDIR = "@BINDIR@"  # in a unit: the folder of the installed commands


@dataclass(slots=True)
class Record:
    """What was written: the digest of each file or link by its path below the root, and the folders made for them."""

    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"'{error.filename or path}': {error.strerror}") from error


def data_folder() -> Path:
    """Return where the data files are: beside the modules in an installed package, else the checkout."""
    package = Path(xdploaderd.__file__).parent
    return package / "data" if (package / "data").is_dir() else package.parent


def install_system(root: Path, *, bindir: Path, say: Callable[[str], None], iproute2: bool = False) -> None:
    """Write every file below `root`; units start the commands in `bindir`. FileError when one cannot be written.

    With `iproute2` the names `ip` and `tc` are links to us, until uninstall_system.
    """
    record = _read_record(root)
    contents = {target: _content(target, source, bindir) for target, source in FILES.items()}
    names = {**LINKS, **(TOOL_LINKS if iproute2 else {})}
    links = {target: os.fsencode(bindir / name) for target, name in names.items()}
    try:
        for target, content in {**contents, **links}.items():
            path = root / target
            with _file_errors(path):
                if _may_write(path, content, record.files.get(target)):
                    record.folders += _make_folders(path.parent, root)
                    _write_link(path, content) if target in links else _write_file(path, content)
                    record.files[target] = _digest(content)
                    say(f"wrote {path}")
                else:
                    say(f"kept {path}: it is not as installed before")
    finally:
        _write_record(root, record)


def uninstall_system(root: Path, *, say: Callable[[str], None]) -> None:
    """Remove what install_system recorded, but for files changed since. FileError when one cannot be removed."""
    record = _read_record(root)
    for target, digest in record.files.items():
        path = root / target
        with _file_errors(path):
            found = _read(path)
            if found is not None and _digest(found) != digest:
                say(f"kept {path}: it was changed")
            elif found is not None:
                path.unlink()
                say(f"removed {path}")
    with _file_errors(root / RECORD):
        (root / RECORD).unlink(missing_ok=True)
        _remove_empty(root / name for name in sorted(record.folders, reverse=True))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are LoaderErrors, which the daemon's entry tells and turns into an exit status."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str]) -> int:
    """Run `install-system` or `uninstall-system`; return the exit status. LoaderError as the functions above."""
    parser = _Parser(prog=f"xdploaderd {argv[0]}")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="the system's files lie below it (default: /)"
    )
    if argv[0] == COMMANDS[0]:
        parser.add_argument(
            "--iproute2",
            action="store_true",
            help="link ip and tc in /usr/local/sbin to xdploaderctl, see xdploaderctl-ip(8)",
        )
    args = parser.parse_args(argv[1:])
    root: Path = args.root
    if argv[0] == COMMANDS[0]:
        install_system(root, bindir=Path(sys.argv[0]).resolve().parent, say=_say, iproute2=args.iproute2)
    else:
        uninstall_system(root, say=_say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _content(target: str, source: str, bindir: Path) -> bytes:
    text = (data_folder() / source).read_text(encoding="utf-8")
    if "/man/" in target:
        text = man_page(text, source=f"xdploaderd {xdploaderd.__version__}")
    return text.replace(BINDIR, str(bindir)).encode()


def _read(path: Path) -> bytes | None:
    """Return the content of a file, the target of a link, or None where there is neither."""
    if path.is_symlink():
        return os.fsencode(os.readlink(path))
    return path.read_bytes() if path.exists() else None


def _may_write(path: Path, content: bytes, last: str | None) -> bool:
    found = _read(path)
    return found is None or found == content or _digest(found) == last


def _write_file(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")  # renamed into place: nobody reads half a unit
    new.write_bytes(content)
    new.chmod(0o644)
    new.replace(path)


def _write_link(path: Path, target: bytes) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(os.fsdecode(target))


def _make_folders(folder: Path, root: Path) -> list[str]:
    """Make what is missing of `folder`; return it as paths below the root, outermost first."""
    missing = [p for p in (folder, *folder.parents) if p.is_relative_to(root) and p != root and not p.exists()]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return [str(p.relative_to(root)) for p in reversed(missing)]


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(root: Path) -> Record:
    path = root / RECORD
    with _file_errors(path):
        if not path.exists():
            return Record()
        try:
            values = json.loads(path.read_bytes())
            return Record(files=dict(values["files"]), folders=list(values["folders"]))
        except (ValueError, TypeError, KeyError) as error:
            raise FileError(f"'{path}' is damaged; remove it to install anew") from error


def _write_record(root: Path, record: Record) -> None:
    path = root / RECORD
    with _file_errors(path):
        record.folders += _make_folders(path.parent, root)
        _write_file(path, json.dumps({"files": record.files, "folders": record.folders}, indent=1).encode())

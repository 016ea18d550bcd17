"""A first file system for a guest, built in memory: Python, programs with their libraries, kernel modules, trees.

The archive is cpio's "newc" (Documentation/driver-api/early-userspace/buffer-format.rst): no root, no device needed.
"""

import lzma
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_DIRECTORIES = ("/dev", "/etc", "/mnt", "/proc", "/root", "/run", "/sys", "/tmp")
_CONSOLE = (5, 1)  # device number of /dev/console
_DEPENDS = b"depends="


class Initramfs:
    """Files by their path in the guest; `write` makes the archive."""

    def __init__(self) -> None:
        self._files: dict[str, _Entry] = {}

    def add(self, guest: str, data: bytes, *, mode: int = 0o644, mtime: int = 0) -> None:
        """Add a file of these bytes."""
        self._files[guest] = _Entry(guest, stat.S_IFREG | mode, data, mtime)

    def add_file(self, path: Path, guest: str | None = None) -> None:
        """Add a file of this machine, at the same place unless told otherwise, as old as it is: bytecode needs that."""
        known = path.stat()
        self.add(guest or str(path), path.read_bytes(), mode=known.st_mode & 0o777, mtime=int(known.st_mtime))

    def add_program(self, path: Path, guest: str | None = None) -> None:
        """Add a program or shared library, with all libraries it needs."""
        self.add_file(path, guest)
        for library in _libraries(path):
            if library not in self._files:
                self.add_file(Path(library), library)

    def add_tree(self, top: Path, guest: str, *, without: frozenset[str] = frozenset()) -> None:
        """Add a folder with what is below it, but for folders of those names, and the libraries it needs."""
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name not in without]
            for name in files:
                path = Path(folder, name)
                place = f"{guest}/{path.relative_to(top)}"
                if path.suffix == ".so":
                    self.add_program(path, place)
                elif path.is_file():
                    self.add_file(path, place)

    def add_modules(self, tree: Path, names: Iterable[str]) -> None:
        """Add kernel modules as /modules/NN-NAME.ko in an order in which they load; names of none are built in."""
        known = {path.name.split(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
        order: dict[str, bytes] = {}
        for name in names:
            _add_module(known, name, order)
        for number, (name, raw) in enumerate(order.items()):
            self.add(f"/modules/{number:02d}-{name}.ko", raw)

    def write(self, path: Path) -> None:
        """Write the archive, uncompressed: the kernel reads it from memory."""
        folders = {str(parent) for name in self._files for parent in Path(name).parents} | {*_DIRECTORIES}
        with path.open("wb") as out:
            for number, entry in enumerate(self._entries(folders - {"/"}), start=1):
                out.write(_record(number, entry))

    def _entries(self, folders: set[str]) -> Iterator["_Entry"]:
        for name in sorted(folders):
            yield _Entry(name, stat.S_IFDIR | 0o755, b"")
        yield _Entry("/dev/console", stat.S_IFCHR | 0o600, b"", device=_CONSOLE)
        for _, entry in sorted(self._files.items()):
            yield entry
        yield _Entry("/TRAILER!!!", 0, b"")


class _Entry(NamedTuple):
    name: str
    mode: int
    data: bytes
    mtime: int = 0
    device: tuple[int, int] = (0, 0)


def _record(number: int, entry: _Entry) -> bytes:
    name = entry.name.lstrip("/").encode() + b"\0"
    numbers = (number, entry.mode, 0, 0, 1, entry.mtime, len(entry.data), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % value for value in numbers) + name
    return head + bytes(-len(head) % 4) + entry.data + bytes(-len(entry.data) % 4)


def _libraries(path: Path) -> Iterator[str]:
    listed = subprocess.run(["ldd", path], check=False, capture_output=True, text=True).stdout
    for word in listed.split():
        if word.startswith("/") and not word.endswith(":"):
            yield word


def _add_module(known: dict[str, Path], name: str, order: dict[str, bytes]) -> None:
    if name not in known or name in order:
        return
    raw = known[name].read_bytes()
    if known[name].suffix == ".xz":
        raw = lzma.decompress(raw)
    for needed in _needed(raw):
        _add_module(known, needed, order)
    order[name] = raw


def _needed(module: bytes) -> list[str]:
    """Return the modules that a module's .modinfo says it depends on."""
    _, found, rest = module.partition(b"\0" + _DEPENDS)
    names = rest.split(b"\0", 1)[0].decode() if found else ""
    return [name.replace("-", "_") for name in names.split(",") if name]

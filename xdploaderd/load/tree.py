"""The pins of `load OBJ DIR`: programs at DIR/NAME, maps at DIR/maps/NAME; and their removal.

bpftool prog loadall pins likewise. A BPF file system takes no name with a dot, so dots become `_`.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.errors import PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import check_plain, is_bpffs, is_bpffs_root, list_dir, unpin
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.object import LoadedObject
from xdploaderd.load.pins import pin
from xdploaderd.obj.pin_names import check_pin_name
from xdploaderd.obj.spec import ProgramSpec

MAPS_DIR = "maps"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePins:
    """Where load_tree pinned each program and each map, by name."""

    programs: Mapping[str, PurePosixPath]
    maps: Mapping[str, PurePosixPath]


def tree_paths(programs_of: Iterable[ProgramSpec], maps_of: Iterable[str], directory: PurePosixPath) -> TreePins:
    """Return where everything goes. Raises PinError when two names meet at one path, or one is none at all."""
    programs = {spec.name: directory / _file_name(program_file_name(spec)) for spec in programs_of}
    maps = {name: directory / MAPS_DIR / _file_name(name) for name in maps_of}
    taken: dict[PurePosixPath, str] = {directory / MAPS_DIR: "directory of the maps"} if maps else {}
    for kind, paths in (("program", programs), ("map", maps)):
        for name, path in paths.items():
            if path in taken:
                raise PinError(f"{kind} '{name}' would be pinned at '{path}', as the {taken[path]}")
            taken[path] = f"{kind} '{name}'"
    return TreePins(programs=programs, maps=maps)


def program_file_name(spec: ProgramSpec) -> str:
    """Return what a program's pin is called: its name, or its section with `/` as `_` where it has none."""
    return spec.name if spec.has_symbol else spec.section.replace("/", "_")


def _file_name(name: str) -> str:
    file_name = name.replace(".", "_")
    check_pin_name(file_name)
    return file_name


def load_tree(loaded: LoadedObject, bpf: Bpf, directory: PurePosixPath) -> TreePins:
    """Pin every program and map of a loaded object below a directory that is new or empty.

    Raises PinError or KernelError; then what this call made is gone. The pins belong to the object's load until
    `loaded.commit()`.
    """
    _check_directory(directory)
    if list_dir(directory):
        raise PinError(f"'{directory}' is not empty, wanted a new directory")
    paths = tree_paths((loaded.prepared.programs[name].spec for name in loaded.programs), loaded.maps, directory)
    with ExitStack() as undo:
        for name, path in paths.programs.items():
            _pin_new(bpf, loaded.programs[name], path, undo)
        for name, path in paths.maps.items():
            _pin_new(bpf, loaded.maps[name].fd, path, undo)
        loaded.own.undo.push(undo.pop_all())
    return paths


def _pin_new(bpf: Bpf, fd: Fd, path: PurePosixPath, undo: ExitStack) -> None:
    if not pin(bpf, fd, path, undo):
        raise PinError(f"'{path}' exists already")


def unload_tree(directory: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Remove the pins that load_tree made and the directory; return them. What else pins the objects stays.

    Raises PinError, before anything is removed, when the directory is missing, not on a BPF file system, or holds
    something that load_tree does not make.
    """
    _check_directory(directory)
    try:
        mode = os.lstat(directory).st_mode
    except OSError as error:
        raise PinError(f"'{directory}': {os.strerror(error.errno or 0).lower()}") from None
    if not stat.S_ISDIR(mode):
        raise PinError(f"'{directory}' is no directory, wanted one that 'load' made")
    if not is_bpffs(directory):
        raise PinError(f"'{directory}' does not lie on a BPF file system")
    pins = (*_pins_in(directory, below=MAPS_DIR), *_pins_in(directory / MAPS_DIR, below=""))
    for path in pins:
        unpin(path)
    for emptied in (directory / MAPS_DIR, directory):
        try:
            os.rmdir(emptied)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PinError(f"cannot remove '{emptied}': {os.strerror(error.errno or 0).lower()}") from None
    return pins


def _check_directory(directory: PurePosixPath) -> None:
    check_plain(directory)
    if is_bpffs_root(directory):
        raise PinError(f"'{directory}' is the root of a BPF file system, wanted a directory below it")


def _pins_in(directory: PurePosixPath, *, below: str) -> list[PurePosixPath]:
    """Return the pins of one directory; anything but a pin, or the directory named `below`, is refused."""
    pins = []
    for entry in list_dir(directory):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            pins.append(directory / entry.name)
        elif not (stat.S_ISDIR(mode) and entry.name == below):
            raise PinError(f"'{directory / entry.name}' is not of the kind that 'load' makes, nothing is removed")
    return pins

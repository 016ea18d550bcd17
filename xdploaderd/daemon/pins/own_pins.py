"""The daemon's own pins: ROOT/xdploaderd/NAME/prog, and NAME/arrays_ID/MAP for program arrays pinned nowhere else.

A change pins its program as NAME/prog_new, and its arrays beside those in force under the new program's id, before it
touches the hook; after that prog_new is renamed over prog, and the arrays of other programs go. A crash at any point
leaves the program that runs pinned under one of the two names, with its arrays, and the next start tells by the hook
which of them it is. New maps that are to take the pins of others wait in NAME/maps_new and share prog_new's fate. The
directory of NAME@IFNAME may have %XX for a byte of IFNAME: bpffs has no names with a dot.
"""

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.daemon.pins.link_pins import FILES as LINKS
from xdploaderd.daemon.pins.link_pins import LinkPins
from xdploaderd.daemon.pins.pin_names import file_name, name_in, pin_name
from xdploaderd.daemon.state.lock import RootLock
from xdploaderd.errors import LoaderError, PinError, error_context
from xdploaderd.info import LinkInfo, ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, make_pin_dir, pins_among, pins_under, remove_dirs, unpin
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pin_moves import drop_moves, finish_moves
from xdploaderd.load.pins import open_pin
from xdploaderd.uapi.bpf import MapId, ProgId

PROG, STAGED, ARRAYS, MAPS = "prog", "prog_new", "arrays_", "maps_new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is pinned for an attachment: the program in force, and one that a change left staged.

    `leftovers`: there are arrays of any other program, or their directory, maps that did not move, or dead links.
    """

    prog: ProgInfo | None
    staged: ProgInfo | None
    links: tuple[LinkInfo, ...]
    leftovers: bool
    paths: tuple[str, ...]


class OwnPins:
    """The tree below ROOT/xdploaderd. Raises PinError, KernelError."""

    def __init__(self, root: PurePosixPath, bpf: Bpf) -> None:
        self._maps_root = root
        self.root = root / "xdploaderd"
        self._bpf = bpf
        self._lock = RootLock(root)
        self.links = LinkPins(self.root, bpf)

    def claim(self) -> None:
        """Keep other daemons from these pins. Raises LockedError where one has them already."""
        self._lock.claim()

    def names(self) -> tuple[str, ...]:
        """Return the attachments that have a directory here."""
        entries = list_dir(self.root)
        found = (name_in(e.name) for e in entries if e.is_dir(follow_symlinks=False))
        return tuple(name for name in found if name is not None)

    def remove_unused(self) -> None:
        """Remove the directory that all this is below, where a crash left nothing in it."""
        if os.path.isdir(self.root) and not list_dir(self.root):
            remove_dirs([self.root])

    def directory(self, name: str) -> PurePosixPath:
        """Return where the attachment's pins are."""
        *above, last = name.split("/")  # _before/NAME; an entry's own name has no slash
        return self.root.joinpath(*above, file_name(last))

    def check_free(self, name: str) -> None:
        """Raise PinError where the attachment has a directory."""
        if os.path.lexists(self.directory(name)):
            raise PinError(f"'{self.directory(name)}' is there, wanted the name to be free")

    def rename(self, name: str, new: str) -> None:
        """Let the pins of `name` be those of `new`, which has none; one step."""
        old = self.directory(name)
        try:
            os.rename(old, self.directory(new))
        except OSError as error:
            raise PinError(f"'{old}' cannot be renamed to '{file_name(new)}': {error.strerror}") from error

    def prog(self, name: str) -> ProgInfo | None:
        """Return the program pinned as in force."""
        return self._info(self.directory(name) / PROG)

    def staged(self, name: str) -> ProgInfo | None:
        """Return the program that a change pinned and did not come round to put in force."""
        return self._info(self.directory(name) / STAGED)

    def look(self, name: str, *, running: ProgId | None = None) -> Contents:
        """Return all that is pinned for the attachment, by one listing: each pass looks at each attachment.

        `running`: the program whose pin was removed, and which its arrays are still for.
        """
        directory = self.directory(name)
        entries = list_dir(directory)
        there = {entry.name for entry in entries}
        prog, staged = (self._info(directory / file) if file in there else None for file in (PROG, STAGED))
        links = self.links.infos(name) if there.intersection(LINKS) else ()
        ids = [*(found.id for found in (prog, staged) if found is not None), *([running] if running else [])]
        kept = {f"{ARRAYS}{number}" for number in ids}
        left = MAPS in there or any(e.startswith(ARRAYS) and e not in kept for e in there)
        return Contents(
            prog=prog,
            staged=staged,
            links=links,
            leftovers=left or any(not link.ifindex for link in links),
            paths=tuple(map(str, pins_among(directory, entries))),
        )

    def new_maps(self, name: str) -> PurePosixPath:
        """Return the directory where new maps wait for the pins of old ones."""
        return self.directory(name) / MAPS

    def new_maps_of_others(self, name: str) -> tuple[PurePosixPath, ...]:
        """Return those directories of all other attachments."""
        return tuple(self.new_maps(other) for other in self.names() if other != name)

    def staged_maps_of_others(self, name: str) -> AbstractSet[MapId]:
        """Return the maps of the programs that all other attachments have staged."""
        staged = (self.staged(other) for other in self.names() if other != name)
        return {map_id for prog in staged if prog is not None for map_id in prog.map_ids}

    def open_prog(self, name: str) -> Fd:
        """Return a new descriptor of the program in force; the caller closes it."""
        path = self.directory(name) / PROG
        found = open_pin(self._bpf, path, ObjectKind.PROG)
        if found is None:
            raise PinError(f"'{path}' is gone, wanted the program of attachment '{name}'")
        return found

    def open_program(self, name: str, prog_id: ProgId) -> tuple[Fd, Mapping[str, Fd]] | None:
        """Open the program of that id, in force or staged, and its arrays by the names of their pins; None: not there.

        The caller closes the descriptors.
        """
        for file in (PROG, STAGED):
            prog = open_pin(self._bpf, self.directory(name) / file, ObjectKind.PROG)
            if prog is None:
                continue
            with ExitStack() as stack:
                stack.enter_context(prog)
                if self._bpf.prog_info(prog).id != prog_id:
                    continue
                arrays = self._open_arrays(self.directory(name) / f"{ARRAYS}{prog_id}", stack)
                stack.pop_all()
                return prog, arrays
        return None

    def _open_arrays(self, directory: PurePosixPath, stack: ExitStack) -> dict[str, Fd]:
        found = {path.name: open_pin(self._bpf, path, ObjectKind.MAP) for path in pins_under(directory)}
        return {name: stack.enter_context(array) for name, array in found.items() if array is not None}

    def array_paths(self, name: str, prog_id: ProgId) -> tuple[PurePosixPath, ...]:
        """Return where program arrays and kept maps of the attachment's program are pinned."""
        return tuple(pins_under(self.directory(name) / f"{ARRAYS}{prog_id}"))

    def stage(self, name: str, prog: Fd, arrays: Mapping[str, Fd]) -> None:
        """Pin a program and its arrays beside those in force; all or nothing."""
        directory = self.directory(name)
        own_arrays = directory / f"{ARRAYS}{self._bpf.prog_info(prog).id}"
        made = make_pin_dir(directory)
        try:
            self.claim()  # the root may be one that was just made
        except LoaderError:
            remove_dirs(made)
            raise
        try:
            if arrays:
                make_pin_dir(own_arrays)
            for map_name, array in arrays.items():
                self._bpf.obj_pin(array, own_arrays / pin_name(map_name))
            self._bpf.obj_pin(prog, directory / STAGED)
        except BaseException:
            self.discard(name)
            remove_dirs(made)
            raise

    def pin_again(self, name: str, prog: Fd) -> None:
        """Pin the program in force, whose pin was removed."""
        directory = self.directory(name)
        made = make_pin_dir(directory)
        try:
            self.claim()  # the root may be one that was just made
            self._bpf.obj_pin(prog, directory / PROG)
        except BaseException:
            remove_dirs(made)
            raise

    def promote(self, name: str) -> None:
        """Put the staged program in force, its maps first, then remove the arrays of any other."""
        directory = self.directory(name)
        finish_moves(self.new_maps(name), self._maps_root)
        try:
            os.rename(directory / STAGED, directory / PROG)
        except OSError as error:
            raise PinError(f"'{directory / STAGED}' cannot be renamed to '{PROG}': {error.strerror}") from error
        self._keep_arrays_of(name, self.prog(name))

    def discard(self, name: str) -> None:
        """Remove what is staged, and dead links; the directory too when nothing is in force."""
        unpin(self.directory(name) / STAGED)
        drop_moves(self.new_maps(name))
        self.links.sweep(name)
        self._keep_arrays_of(name, self.prog(name))
        self._remove_empty(name)

    def forget(self, name: str) -> None:
        """Remove every pin of the attachment."""
        for file in (STAGED, PROG):
            unpin(self.directory(name) / file)
        drop_moves(self.new_maps(name))
        self.links.forget(name)
        self._keep_arrays_of(name, None)
        self._remove_empty(name)

    def _keep_arrays_of(self, name: str, prog: ProgInfo | None) -> None:
        kept = f"{ARRAYS}{prog.id}" if prog is not None else ""
        for entry in list_dir(self.directory(name)):
            if entry.name.startswith(ARRAYS) and entry.name != kept:
                directory = self.directory(name) / entry.name
                for path in pins_under(directory):
                    unpin(path)
                remove_dirs([directory])

    def _remove_empty(self, name: str) -> None:
        remove_dirs([self.root, self.directory(name)])

    def _info(self, path: PurePosixPath) -> ProgInfo | None:
        found = open_pin(self._bpf, path, ObjectKind.PROG)
        if found is None:
            return None
        with found, error_context(f"pin '{path}'"):
            return self._bpf.prog_info(found)

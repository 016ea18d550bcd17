"""Pins that go over from one map to another when the new program runs; until then the new map has a pin of its own.

The old map keeps its pin so long, and a rename, one step of the file system, puts the other in its place.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from xdploaderd.errors import PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, pins_under, remove_dirs, unpin
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pins import pin

NEXT = "-next"  # no name of a map in C has a dash


@dataclass(slots=True)
class PinMoves:
    """The moves of one load. `side`: the directory for pins of new maps, None: beside the pin they are to take."""

    root: PurePosixPath
    side: PurePosixPath | None = None
    _waiting: list[tuple[PurePosixPath, PurePosixPath]] = field(default_factory=list)

    def stage(self, bpf: Bpf, fd: Fd, path: PurePosixPath, undo: ExitStack) -> None:
        """Pin a new map aside; what a load that was cut short left there goes. `undo` takes it back."""
        aside = aside_of(path, self.root, self.side) if self.side else path.with_name(path.name + NEXT)
        unpin(aside)
        if not pin(bpf, fd, aside, undo):
            raise PinError(f"cannot pin at '{aside}': the path is taken")
        self._waiting.append((aside, path))

    def give_up(self) -> None:
        """Let the old maps keep their pins."""
        self._waiting.clear()

    def finish(self) -> None:
        """Let the new maps take the pins of the old ones. Raises PinError; the rest can be tried again."""
        while self._waiting:
            move_pin(*self._waiting[0])
            self._waiting.pop(0)
        if self.side is not None:
            remove_empty(self.side)


def aside_of(path: PurePosixPath, root: PurePosixPath, side: PurePosixPath) -> PurePosixPath:
    """Return where in the directory `side` the map is pinned that is to take the pin `path` below `root`."""
    return side / path.relative_to(root)


def move_pin(aside: PurePosixPath, path: PurePosixPath) -> None:
    """Put what is pinned aside at its place, whatever is pinned there."""
    try:
        os.rename(aside, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PinError(f"the pin '{aside}' cannot be moved to '{path}': {reason}") from None


def finish_moves(side: PurePosixPath, root: PurePosixPath) -> None:
    """Carry out the moves that a load was cut short in."""
    for aside in tuple(pins_under(side)):
        move_pin(aside, root / aside.relative_to(side))
    remove_empty(side)


def drop_moves(side: PurePosixPath) -> None:
    """Remove the pins of new maps whose program does not run."""
    for aside in tuple(pins_under(side)):
        unpin(aside)
    remove_empty(side)


def remove_empty(directory: PurePosixPath) -> None:
    """Remove a directory with the directories in it, as far as they are empty."""
    for entry in list_dir(directory):
        if entry.is_dir(follow_symlinks=False):
            remove_empty(directory / entry.name)
    remove_dirs([directory])

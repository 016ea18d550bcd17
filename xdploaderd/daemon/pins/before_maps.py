"""The pinned maps of the configuration before, while a new one is on trial: a migration gives their pins to new maps.

Each is pinned once more, at the same path below another directory. What is rolled back gets its pin back by a rename.
"""

import errno
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

from xdploaderd.errors import KernelError, PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, make_pin_dir, pins_among
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pin_moves import drop_moves, move_pin
from xdploaderd.load.pins import open_pin
from xdploaderd.uapi.bpf import MapId

_NOT_OURS = (errno.EPERM, errno.EACCES)


class BeforeMaps:
    """Second pins below `directory` of maps pinned below `root`, but not in `own`. Raises PinError, KernelError."""

    def __init__(self, bpf: Bpf, root: PurePosixPath, own: PurePosixPath, directory: PurePosixPath) -> None:
        self._bpf = bpf
        self._root = root
        self._own = own
        self._directory = directory

    def keep(self, ids: AbstractSet[MapId]) -> None:
        """Pin those maps once more that have a pin."""
        for path in self._pins(self._root):
            found = self._open(path)
            if found is None:
                continue
            with found:
                if self._bpf.map_info(found).id in ids:
                    second = self._directory / path.relative_to(self._root)
                    make_pin_dir(second.parent)
                    self._bpf.obj_pin(found, second)

    def restore(self) -> None:
        """Give every map its pin back where another one has it; where nothing is pinned, nothing will be.

        A second pin is ours: one that cannot be opened ends it, so that it is tried again.
        """
        for second in tuple(self._pins(self._directory)):
            path = self._root / second.relative_to(self._directory)
            now, before = self._id_of(self._open(path)), self._id_of(open_pin(self._bpf, second, ObjectKind.MAP))
            if now is not None and before is not None and now != before:
                move_pin(second, path)

    def drop(self) -> None:
        """Remove the second pins that are left."""
        drop_moves(self._directory)

    def _pins(self, top: PurePosixPath) -> Iterator[PurePosixPath]:
        yield from pins_among(top, (entry for entry in list_dir(top) if top / entry.name != self._own))

    def _id_of(self, found: Fd | None) -> MapId | None:
        """Return the id of a map, and close it."""
        if found is None:
            return None
        with found:
            return self._bpf.map_info(found).id

    def _open(self, path: PurePosixPath) -> Fd | None:
        """Open a pinned map; None for whatever else is there, or what we may not open."""
        try:
            return open_pin(self._bpf, path, ObjectKind.MAP)
        except PinError:
            return None
        except KernelError as error:
            if error.errno in _NOT_OURS:
                return None
            raise

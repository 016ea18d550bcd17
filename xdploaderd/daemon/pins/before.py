"""The programs of the configuration before, pinned below ROOT/xdploaderd/_before while a new one waits to be confirmed.

A name with `_` is no entry's, so these pins are in nobody's way; what is pinned can be put back without its file. Their
pinned maps have second pins there too.
"""

from collections.abc import Mapping
from contextlib import suppress

from xdploaderd.daemon.pins.before_maps import BeforeMaps
from xdploaderd.daemon.pins.displaced import Displaced
from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.daemon.pins.pin_names import name_in
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, make_pin_dir, remove_dirs
from xdploaderd.kernel.syscall import Fd
from xdploaderd.uapi.bpf import ProgId

DIRECTORY, MAPS = "_before", "_maps"
TRIES = 3  # at removing them


class Before:
    """The pins of what ran before. Raises PinError, KernelError."""

    def __init__(self, pins: OwnPins, bpf: Bpf) -> None:
        self._pins = pins
        self.directory = pins.root / DIRECTORY
        self.displaced: Displaced | None = None  # None where others' programs are not held
        self._maps = BeforeMaps(bpf, pins.root.parent, pins.root, pins.root / DIRECTORY / MAPS)

    def keep(self) -> None:
        """Pin every program that is in force once more, with its arrays and pinned maps; all or nothing.

        From now on programs of others that give way are held as well. What could not be removed after an earlier
        trial goes first.
        """
        self.acknowledge()
        self.drop()
        try:
            make_pin_dir(self.directory)
            self._pins.claim()  # the root may be one that was just made
            found = [(name, self._pins.prog(name)) for name in self._pins.names()]
            progs = [(name, prog) for name, prog in found if prog is not None]
            for name, prog in progs:
                self._keep(name, prog.id)
            self._maps.keep({map_id for _, prog in progs for map_id in prog.map_ids})
        except BaseException:
            self.drop()
            raise

    def programs(self) -> tuple[tuple[str, ProgId], ...]:
        """Return the entries that have a program here, and its id."""
        found = ((name, self._pins.prog(f"{DIRECTORY}/{name}")) for name in self._names())
        return tuple((name, prog.id) for name, prog in found if prog is not None)

    def open(self, name: str, prog_id: ProgId) -> tuple[Fd, Mapping[str, Fd]] | None:
        """Open an entry's program and its arrays; None where it is not here. The caller closes them."""
        return self._pins.open_program(f"{DIRECTORY}/{name}", prog_id)

    def rename(self, name: str, new: str) -> None:
        """Let what is here of an entry be that of another name, which has nothing here."""
        self._pins.rename(f"{DIRECTORY}/{name}", f"{DIRECTORY}/{new}")

    def restore_maps(self) -> None:
        """Give the pins that were migrated back to the maps of the programs, which run again."""
        self._maps.restore()

    def lost(self) -> tuple[str, ...]:
        """Return which programs of others that gave way cannot be put back, or could not be, and why."""
        return self.displaced.lost() if self.displaced is not None else ()

    def acknowledge(self) -> None:
        """Tell of them no longer: something else is in force now."""
        if self.displaced is not None:
            self.displaced.acknowledge()

    def drop(self) -> None:
        """Remove the pins, where there are any; again where a try left some."""
        for _ in range(TRIES - 1):
            with suppress(LoaderError):
                self._drop()
        if self._are_there():
            self._drop()

    def _are_there(self) -> bool:
        return any(entry.name == DIRECTORY for entry in list_dir(self._pins.root))

    def _drop(self) -> None:
        if not self._are_there():
            return
        if self.displaced is not None:
            self.displaced.drop()
        self._maps.drop()
        for name in self._names():
            self._pins.forget(f"{DIRECTORY}/{name}")
        remove_dirs([self._pins.root, self._pins.root / DIRECTORY])

    def _names(self) -> tuple[str, ...]:
        found = (name_in(entry.name) for entry in list_dir(self._pins.root / DIRECTORY))
        return tuple(name for name in found if name is not None)

    def _keep(self, name: str, prog_id: ProgId) -> None:
        opened = self._pins.open_program(name, prog_id)
        if opened is None:
            return
        prog, arrays = opened
        try:
            self._pins.stage(f"{DIRECTORY}/{name}", prog, arrays)
            self._pins.promote(f"{DIRECTORY}/{name}")
        finally:
            for fd in (prog, *arrays.values()):
                fd.close()

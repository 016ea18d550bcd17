"""How the CO-RE relocations of the loaded programs came about: one file of the state directory for each program.

The values are those of docs/core-log.schema.json. A record explains and decides nothing, so that one which cannot be
kept is missed and no load fails for it.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xdploaderd.daemon.state.state_file import read_state, write_state
from xdploaderd.errors import NoCoreLogError
from xdploaderd.obj.core_record import core_log
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.uapi.bpf import ProgId

log = logging.getLogger(__name__)

MAX_BYTES = 4 << 20  # of one record; the corpus's largest has 0.5 MB
MAX_BYTES_OF_ALL = 64 << 20
_LOG, _WHY_NOT = "core_log", "why_not"


class CoreLogs:
    """The records below one directory, which is made when the first program is loaded; for one thread but find()."""

    def __init__(self, directory: Path, *, boot_id: str) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._sizes = dict(_found(directory))
        self._complained = False

    def put(self, prog_id: ProgId, prepared: PreparedObject) -> None:
        """Keep the record of a program that was loaded; one that is too large is only told of."""
        text = json.dumps(core_log(prepared.spec, (*prepared.core_log, *prepared.core_failures)))
        most = min(MAX_BYTES, MAX_BYTES_OF_ALL - sum(self._sizes.values()))
        fits = len(text) <= most
        why_not = f"it takes {len(text)} bytes, at most {max(most, 0)} are kept"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_state(self._path(prog_id), {_LOG: text} if fits else {_WHY_NOT: why_not}, boot_id=self._boot_id)
        except OSError as error:
            if not self._complained:
                log.warning("CO-RE records cannot be kept below '%s': %s", self._directory, error.strerror)
            self._complained = True
        else:
            self._sizes[prog_id] = len(text) if fits else len(why_not)

    def find(self, prog_id: ProgId) -> Sequence[Mapping[str, Any]]:
        """Return the record of a program, empty for one without CO-RE relocations. Raises NoCoreLogError."""
        values = read_state(self._path(prog_id), boot_id=self._boot_id)
        try:
            kept: Sequence[Mapping[str, Any]] = json.loads(values[_LOG])
        except (KeyError, TypeError, ValueError):
            why_not = values.get(_WHY_NOT, "it was adopted, or loaded by an older daemon")
            raise NoCoreLogError(f"no CO-RE record of program {prog_id} is kept: {why_not}") from None
        return kept

    def keep_only(self, prog_ids: Iterable[ProgId]) -> None:
        """Remove the records of every program but these."""
        for prog_id in self._sizes.keys() - frozenset(prog_ids):
            try:
                self._path(prog_id).unlink(missing_ok=True)
            except OSError as error:
                log.debug("CO-RE record '%s' stays: %s", self._path(prog_id), error.strerror)
            else:
                del self._sizes[prog_id]

    def _path(self, prog_id: ProgId) -> Path:
        return self._directory / str(prog_id)


def _found(directory: Path) -> Iterable[tuple[ProgId, int]]:
    """Yield the programs that an earlier run kept records of, with their sizes; half-written files go."""
    try:
        for file in directory.iterdir():
            if file.name.isdecimal() and file.name.isascii():
                yield ProgId(int(file.name)), file.stat().st_size
            else:
                file.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("CO-RE records below '%s' cannot be looked at: %s", directory, error.strerror)

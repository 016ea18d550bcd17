"""Programs that gave way to what is on trial and are no entry's: held by pins below ROOT/xdploaderd/_before/_foreign.

They are pinned, and their places are written down, before the first of ours takes one. What the kernel does not hand
out (no CAP_SYS_ADMIN, a classic filter, a filter with actions of its own) is remembered with the reason.
"""

import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from xdploaderd.daemon.plan.world import Occupant, Place
from xdploaderd.daemon.state.records import StateStore
from xdploaderd.errors import LoaderError
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import TcFilter
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import list_dir, make_pin_dir, pins_under, remove_dirs, unpin
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pins import open_pin
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import Ifindex, ProgId

log = logging.getLogger(__name__)

DIRECTORY = "_foreign"


@dataclass(frozen=True, slots=True)
class Held:
    """What was at a place before one of ours; `problem`: why it is not held, or could not be put back."""

    met: Occupant
    problem: str = ""

    def __str__(self) -> str:
        name = f" {quoted(self.met.name)}" if self.met.name else ""
        return f"program {self.met.prog_id or 'of classic BPF'}{name} of others on {self.met.place}"


class Displaced:
    """The pins in `directory`, and the file that tells their places; it counts for one boot."""

    def __init__(self, directory: PurePosixPath, bpf: Bpf, path: Path, *, boot_id: str) -> None:
        self._trial = directory
        self._directory = directory / DIRECTORY
        self._bpf = bpf
        self._store = StateStore(path, boot_id=boot_id)
        self._held = _decode(self._store.read())
        self._lost: tuple[str, ...] = ()

    def held(self) -> tuple[Held, ...]:
        """Return what gave way since the trial began."""
        return self._held

    def programs(self) -> AbstractSet[ProgId]:
        """Return their ids."""
        return {held.met.prog_id for held in self._held if held.met.prog_id is not None}

    def hold(self, met: Occupant, prog: Fd | None = None) -> None:
        """Pin what is met and write down where it is, if anything is on trial; blocks. What cannot be held is told.

        `prog`: its descriptor, borrowed, where it is one of ours; None: it has to be opened by its id.
        """
        trial = self._trial
        if not any(entry.name == trial.name for entry in list_dir(trial.parent)):
            return
        if any(held.met.place == met.place for held in self._held):
            return  # it is what was there before the trial that comes back
        held = Held(met, self._pin(met, prog))
        if held.problem:
            log.warning("%s cannot be put back when this is rolled back: %s", held, held.problem)
        self._set((*self._held, held))

    def open(self, prog_id: ProgId) -> Fd | None:
        """Return a descriptor of a program that is held; the caller closes it. None: it is not."""
        return open_pin(self._bpf, self._directory / str(prog_id), ObjectKind.PROG)

    def failed(self, held: Held, problem: str) -> None:
        """Take note of why it could not be put back."""
        self._set(tuple(replace(held, problem=problem) if one.met == held.met else one for one in self._held))

    def lost(self) -> tuple[str, ...]:
        """Return what cannot be put back, or could not be at the end of the last trial, and why."""
        return (*self._lost, *(f"{held} cannot be put back: {held.problem}" for held in self._held if held.problem))

    def acknowledge(self) -> None:
        """Tell of what is lost no longer."""
        self._lost = ()

    def drop(self) -> None:
        """Hold nothing any more; what is lost is told on. Blocks; raises PinError."""
        self._lost = self.lost()
        self._set(())
        for path in tuple(pins_under(self._directory)):
            unpin(path)
        remove_dirs([self._directory])

    def _pin(self, met: Occupant, ours: Fd | None) -> str:
        """Pin the program; return why that is not possible, or would be of no use."""
        if met.prog_id is None:
            return "the kernel does not hand out classic BPF"
        if met.filter is not None and not met.filter.plain:
            return "the filter has actions or flags of its own, which tc(8) alone can set"
        path = self._directory / str(met.prog_id)
        try:
            with self._bpf.prog_by_id(met.prog_id) if ours is None else nullcontext(ours) as prog:
                make_pin_dir(self._directory)
                if not any(entry.name == path.name for entry in list_dir(self._directory)):
                    self._bpf.obj_pin(prog, path)
        except LoaderError as error:
            return str(error)
        return ""

    def _set(self, held: tuple[Held, ...]) -> None:
        if held != self._held or self._store.dirty:
            self._held = held
            self._store.save({"held": [_to_json(one) for one in held]})


def _to_json(held: Held) -> dict[str, Any]:
    met, place = held.met, held.met.place
    return {
        "prog_id": met.prog_id,
        "name": met.name,
        "tag": met.tag,
        "problem": held.problem,
        "ifindex": place.ifindex,
        "ifname": place.ifname,
        "hook": place.hook.value,
        "mode": place.mode.value,
        "filter": None if met.filter is None else asdict(met.filter),
    }


def _decode(values: Mapping[str, Any]) -> tuple[Held, ...]:
    try:
        return tuple(map(_from_json, values.get("held", ())))
    except (KeyError, TypeError, ValueError):
        log.warning("what is known of displaced programs of others is not understood and not used")
        return ()


def _from_json(value: Mapping[str, Any]) -> Held:
    hook, ifindex = Hook(value["hook"]), Ifindex(int(value["ifindex"]))
    place = Place(ifindex=ifindex, ifname=str(value["ifname"]), hook=hook, mode=XdpMode(value["mode"]))
    prog_id = None if value["prog_id"] is None else ProgId(int(value["prog_id"]))
    given, found = value["filter"], None
    if given is not None:
        found = TcFilter(**{**given, "hook": hook})
        place = replace(
            place,
            priority=found.priority,
            handle=found.handle,
            protocol=found.protocol,
            classid=found.classid,
            counts=found.decides,
        )
    return Held(Occupant(place, prog_id, str(value["name"]), str(value["tag"]), found), str(value["problem"]))

"""The maps of programs that are attached: found by the daemon's pins, by those of the object, or by their ids.

Ids need CAP_SYS_ADMIN; without it the maps that no pin leads to are left out.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.execute.programs import OwnPrograms
from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.daemon.plan.status import AttachedMap, AttachmentStatus
from xdploaderd.daemon.plan.world import Owned, Record
from xdploaderd.errors import KernelError, LoaderError, NoSuchMapError
from xdploaderd.info import MapInfo, ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.prog_load import kernel_name
from xdploaderd.load.pins import open_pin, pin_path
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import MapType, enum_name


@dataclass(frozen=True, slots=True)
class Running:
    """A program in force: the attachment's name, and its entry where there is one."""

    name: str
    prog: ProgInfo
    config: AttachmentConfig | None
    pinning: PinningConf


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    info: MapInfo
    path: PurePosixPath | None


class AttachedMaps:
    """Lists and opens maps; what blocks is done in the daemon's worker. Raises PinError, KernelError."""

    def __init__(self, bpf: Bpf, pins: OwnPins, programs: OwnPrograms, worker: Pool) -> None:
        self._bpf = bpf
        self._pins = pins
        self._programs = programs
        self._worker = worker

    def noted(self, statuses: Sequence[AttachmentStatus], owned: Mapping[str, Owned]) -> tuple[AttachmentStatus, ...]:
        """Add to the status of each program that runs what is to be told of its pins; blocks, and any thread may."""
        return tuple(self._noted(status, owned.get(status.name)) for status in statuses)

    def _noted(self, status: AttachmentStatus, owned: Owned | None) -> AttachmentStatus:
        pinned = _pinned(owned.record) if status.prog_id and owned is not None and owned.record is not None else {}
        found = {path: self._info_at(path) for path in pinned}
        others = [quoted(str(path)) for path, info in found.items() if info is not None and info.id != pinned[path]]
        if not others:
            return status
        text = f"{', '.join(others)} is another map now than its program has: it takes that one when it is loaded anew"
        return replace(status, note="; ".join(filter(None, (status.note, text))))

    async def list(self, running: Running) -> tuple[AttachedMap, ...]:
        """Return the program's maps by name."""
        found = await asyncio.get_running_loop().run_in_executor(self._worker, self._find, running)
        return tuple(_shown(one) for one in found)

    async def open(self, running: Running, name: str, *, write: bool) -> int:
        """Return a descriptor, the caller's, of the map of that name, name in the kernel, or id.

        Raises NoSuchMapError.
        """
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._open, running, name, write)

    def _open(self, running: Running, name: str, write: bool) -> int:
        maps = self._find(running)
        for wanted in (lambda one: one.name, lambda one: one.info.name, lambda one: str(one.info.id)):
            matching = [one for one in maps if wanted(one) == name]
            if len(matching) == 1:
                return self._descriptor(matching[0], write=write)
        known = ", ".join(quoted(one.name) for one in maps) or "none"
        raise NoSuchMapError(f"attachment {quoted(running.name)} has no map {quoted(name)} (there is: {known})")

    def _descriptor(self, found: _Found, *, write: bool) -> int:
        read_only = not write
        if found.path is not None:
            with self._bpf.obj_get(found.path, read_only=read_only) as fd:
                return os.dup(fd.fileno())
        with self._bpf.map_by_id(found.info.id, read_only=read_only) as fd:
            return os.dup(fd.fileno())

    def _find(self, running: Running) -> tuple[_Found, ...]:
        prepared = self._prepared(running)
        left, found = set(running.prog.map_ids), list[_Found]()
        for path in self._paths(running, prepared):
            info = self._info_at(path)
            if info is not None and info.id in left:
                left.remove(info.id)
                found.append(_Found(_name_of(info, prepared), info, path))
        for map_id in sorted(left):
            with suppress(KernelError), self._bpf.map_by_id(map_id) as fd:
                info = self._bpf.map_info(fd)
                found.append(_Found(_name_of(info, prepared), info, None))
        return tuple(sorted(found, key=lambda one: (one.name, one.info.id)))

    def _prepared(self, running: Running) -> PreparedObject | None:
        """Return the program's object, which tells names and pins; None where it is not there any more."""
        config = running.config
        try:
            return self._programs.prepared_for(config, running.prog.id) if config is not None else None
        except LoaderError:
            return None

    def _paths(self, running: Running, prepared: PreparedObject | None) -> Iterator[PurePosixPath]:
        if prepared is not None:
            for spec in prepared.maps.values():
                path = pin_path(running.pinning, prepared.spec, spec)
                if path is not None:
                    yield path
        yield from self._pins.array_paths(running.name, running.prog.id)

    def _info_at(self, path: PurePosixPath) -> MapInfo | None:
        with suppress(LoaderError):
            fd = open_pin(self._bpf, path, ObjectKind.MAP)
            if fd is not None:
                with fd:
                    return self._bpf.map_info(fd)
        return None


def _pinned(record: Record) -> Mapping[PurePosixPath, int]:
    """Return the maps that were pinned when the program was loaded: their ids by path."""
    try:
        return {PurePosixPath(path): int(number) for path, number in json.loads(record.pinned or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _name_of(info: MapInfo, prepared: PreparedObject | None) -> str:
    """Return the map's whole name, of which the kernel has 15 characters, where the object tells it."""
    specs = prepared.maps.items() if prepared is not None else ()
    names = [name for name, spec in specs if kernel_name(spec.kernel_name).decode() == info.name]
    return names[0] if len(names) == 1 else info.name


def _shown(found: _Found) -> AttachedMap:
    info = found.info
    return AttachedMap(
        name=found.name,
        id=info.id,
        type=enum_name(MapType, info.type),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        pin=str(found.path or ""),
    )

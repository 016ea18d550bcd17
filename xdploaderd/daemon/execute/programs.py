"""The programs that are ours: loaded from an entry's object, pinned, remembered, opened again, forgotten.

All of it blocks (the verifier may take seconds), so it runs in the daemon's one worker thread.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.pins.before import Before
from xdploaderd.daemon.pins.kept_maps import open_kept
from xdploaderd.daemon.pins.own_pins import OwnPins
from xdploaderd.daemon.pins.unpinned import find_unpinned, is_emptied, of_program
from xdploaderd.daemon.pins.whereabouts import Whereabouts, at_place
from xdploaderd.daemon.plan.actions import Rename
from xdploaderd.daemon.plan.world import Owned, Place, Record, overrides_of
from xdploaderd.daemon.state.core_logs import CoreLogs
from xdploaderd.daemon.state.known_kernel import KnownKernel
from xdploaderd.daemon.state.records import Records
from xdploaderd.daemon.wanted.entries_file import read_document
from xdploaderd.daemon.wanted.prepared_cache import PreparedCache
from xdploaderd.daemon.wanted.read_objects import ReadObjects
from xdploaderd.daemon.wanted.wishes import Settings
from xdploaderd.errors import FileError, KernelError, ObjectError
from xdploaderd.hooks import Hook, MapSharing, OnMismatch
from xdploaderd.info import LinkInfo, ProgInfo
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.map_plan import EarlierLoads, MapPlan, plan_maps
from xdploaderd.load.maps import MapRules
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.same import trial_load
from xdploaderd.net.door import prog_name
from xdploaderd.net.links import chain_of
from xdploaderd.obj.select import find_program
from xdploaderd.obj.spec import ObjectSpec, PreparedObject
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import Ifindex, MapId, ProgId


@dataclass(frozen=True, slots=True)
class Staged:
    """A program that is pinned as staged; `loaded` owns its descriptors, and its map pins until that block is left."""

    info: ProgInfo
    record: Record
    prog: Fd
    loaded: AbstractContextManager[object]


class OwnPrograms:
    """Pins and records of the daemon's programs. Raises FileError, ObjectError, KernelError, PinError and so on."""

    def __init__(
        self,
        kernel: KnownKernel,
        pins: OwnPins,
        records: Records,
        core_logs: CoreLogs,
        read: ReadObjects,
        settings: Callable[[], Settings],
    ) -> None:
        self._kernel = kernel
        self._bpf = kernel.bpf
        self._pins = pins
        self._records = records
        self._core_logs = core_logs
        self.before = Before(pins, kernel.bpf)
        self.whereabouts = Whereabouts(pins, records)
        self._settings = settings
        self._read = read
        self._objects = PreparedCache(kernel.target)
        self._moving: set[str] = set()  # who has staged maps that are to take the pins of others

    def owned(self) -> tuple[Owned, ...]:
        """Return all that is pinned as ours, and after that what may run still although its pin was removed."""
        self._pins.claim()
        owned = tuple(self._owned_one(name) for name in self._pins.names())
        return (*owned, *find_unpinned(owned, self._records.all(), self._pins, self._bpf))

    def keep_only(self, owned: Sequence[Owned]) -> None:
        """Forget what is remembered of any other program, and keep what could not be kept before."""
        ids = [(o.name, prog.id) for o in owned for prog in (o.prog, o.staged) if prog is not None]
        self._records.keep_only((*ids, *self.before.programs()))
        if not ids:
            self._pins.remove_unused()
        self._kernel.keep()
        self._read.keep_missing()
        self._core_logs.keep_only(number for _, number in ids)

    def links_of(self, names: Sequence[str]) -> Mapping[str, tuple[LinkInfo, ...]]:
        """Return what the kernel tells of the pinned links of these attachments."""
        return {name: self._pins.links.infos(name) for name in names}

    def prepare(self, config: AttachmentConfig, sha1: str) -> None:
        """Prepare the entry's object for stage(), unless a loaded program will do; makes nothing in the kernel."""
        if not any(self._loaded_before(config, sha1)):
            self.prepared(config, sha1)

    def prepared(self, config: AttachmentConfig, sha1: str) -> PreparedObject:
        """Return the entry's object, as it was when it was read with that digest, prepared for this kernel."""
        limits = self._settings().limits
        return self._objects.prepare(config, self._read.bytes_of(config.object, sha1, limits), limits)

    def prepared_for(self, config: AttachmentConfig, prog_id: ProgId) -> PreparedObject:
        """Return the object that the entry's program was loaded from; raises as prepared(), FileError if unknown."""
        record = self._records.find(config.name, prog_id)
        if record is None:
            raise FileError(f"it is not known what program {prog_id} was loaded from")
        return self.prepared(config, record.sha1)

    def digests(self) -> AbstractSet[str]:
        """Return the digests of the objects that pinned programs were loaded from."""
        return {record.sha1 for _, record in self._records.all()}

    def loaded_for(self, config: AttachmentConfig, sha1: str) -> str | None:
        """Return whose loaded program stage() would take for the entry instead of loading; None: it would load."""
        return next((owner for owner, _, _ in self._loaded_before(config, sha1)), None)

    def users_of(self, map_id: MapId) -> tuple[str, ...]:
        """Return the attachments whose program in force has that map."""
        progs = ((name, self._pins.prog(name)) for name in self._pins.names())
        return tuple(name for name, prog in progs if prog is not None and map_id in prog.map_ids)

    def plan_maps(
        self, config: AttachmentConfig, prepared: PreparedObject, earlier: EarlierLoads
    ) -> tuple[MapPlan, ...]:
        """Return what stage() would do about the object's maps, after the loads that come before it."""
        with ExitStack() as stack:
            rules = replace(self._rules(config), kept=open_kept(config, prepared, self._bpf, self._pins, stack))
            return plan_maps(prepared, self._bpf, self._settings().pinning, rules, earlier)

    def stage(self, config: AttachmentConfig, place: Place, sha1: str) -> Staged:
        """Load the entry's program, pin and remember it. All or nothing; the caller leaves `loaded`, by its error.

        With `maps: shared`, a program that another entry has of the object `sha1` is taken instead of loading again.
        """
        if found := self._stage_shared(config, place, sha1):
            return found
        prepared = self.prepared(config, sha1)
        with ExitStack() as stack:
            rules = replace(self._rules(config), kept=open_kept(config, prepared, self._bpf, self._pins, stack))
            loaded = stack.enter_context(load(prepared, self._bpf, self._settings().pinning, rules=rules))
            for fd in rules.kept.values():
                loaded.own.fds.enter_context(fd)
            staged = self._stage_loaded(config, place, loaded)
            if any(found.old is not None for found in loaded.maps.values()):
                self._moving.add(config.name)
            stack.pop_all()
            return staged

    def adopt(self, config: AttachmentConfig, place: Place, sha1: str, prog: Fd) -> None:
        """Pin and remember a program that already runs at `place`; raise ObjectError unless it is the entry's."""
        prepared = self.prepared(config, sha1)
        function = find_program(prepared.spec, config.program).name
        expected, found = trial_load(prepared, self._bpf, function), self._bpf.prog_info(prog)
        if (expected.type, expected.tag) != (found.type, found.tag):
            raise ObjectError(
                f"program {found.id} has tag {found.tag}, and {quoted(config.program)} of {quoted(str(config.object))}"
                f" has {expected.tag}: it is not the same program"
            )
        record = of_program(_record(config, place, prepared.spec), found)
        self._records.put(found.id, record)  # first: a pin without it is loaded anew
        self._pins.stage(config.name, prog, {})
        self._pins.promote(config.name)

    def open(self, name: str) -> Fd:
        """Return a descriptor of the program in force; the caller closes it."""
        return self._pins.open_prog(name)

    def open_foreign(self, prog_id: ProgId) -> Fd:
        """Return a descriptor of a program by its id, which needs CAP_SYS_ADMIN; the caller closes it."""
        return self._bpf.prog_by_id(prog_id)

    def info_of(self, prog_id: ProgId) -> ProgInfo | None:
        """Return what the kernel tells of any program; None where it is gone, or CAP_SYS_ADMIN is missing to look."""
        try:
            with self._bpf.prog_by_id(prog_id) as prog:
                return self._bpf.prog_info(prog)
        except KernelError:
            return None

    def chain(self, ifindex: Ifindex, hook: Hook) -> tuple[tuple[ProgId, str], ...]:
        """Return ids and names of the programs of a TCX hook, in the order they run; no name without CAP_SYS_ADMIN."""
        return tuple((number, prog_name(self._bpf, number)) for number in chain_of(self._bpf, ifindex, hook).progs)

    def info(self, prog: Fd) -> ProgInfo:
        """Return what the kernel tells of a program."""
        return self._bpf.prog_info(prog)

    def rename(self, action: Rename) -> ProgInfo | None:
        """Let what is pinned be that of the new name, attached as before."""
        name, new = action.name, action.wanted.config.name
        prog = self._pins.prog(name)
        record = self.whereabouts.record_of(name, prog)
        if action.clears:
            self._pins.forget(new)
        self._pins.check_free(new)
        if prog is not None and record is not None:
            self._records.put(prog.id, replace(record, attachment=new, interface=action.place.ifname))
        self._pins.rename(name, new)
        self._rename_before(name, new)
        return prog

    def _rename_before(self, name: str, new: str) -> None:
        """Let a roll-back find under the new name what ran before; where that has something of its own, it stays."""
        kept = dict(self.before.programs())
        if name not in kept or new in kept:
            return
        record = self._records.find(name, kept[name])
        if record is not None:
            self._records.put(kept[name], replace(record, attachment=new))
        self.before.rename(name, new)

    def promote(self, name: str) -> None:
        """Put the staged program in force."""
        self._moving.discard(name)
        self._pins.promote(name)

    def discard(self, name: str) -> None:
        """Drop the staged program."""
        self._moving.discard(name)
        self._pins.discard(name)

    def pin_again(self, name: str, prog_id: ProgId) -> ProgInfo:
        """Pin the program in force, which runs and whose pin was removed."""
        with self._bpf.prog_by_id(prog_id) as prog:
            self._pins.pin_again(name, prog)
            return self._bpf.prog_info(prog)

    def forget(self, name: str) -> None:
        """Remove every pin of the attachment, and what is remembered: what it leaves attached is not ours any more."""
        kept = self.before.programs()  # first, so that what fails changes nothing
        self._pins.forget(name)
        self._records.forget(name, kept)

    def _rules(self, config: AttachmentConfig) -> MapRules:
        limits, refuses = self._settings().limits, config.on_mismatch is OnMismatch.REFUSE
        moving = tuple(self._pins.new_maps(name) for name in self._moving if name != config.name)
        return MapRules(
            init={name: read_document(PurePosixPath(file), limits) for name, file in config.map_init},
            on_mismatch=config.on_mismatch,
            side=self._pins.new_maps(config.name),
            others=moving if refuses else self._pins.new_maps_of_others(config.name),
            fresh=frozenset() if refuses else self._pins.staged_maps_of_others(config.name),
        )

    def _owned_one(self, name: str) -> Owned:
        found = self._pins.look(name)
        record = self.whereabouts.record_of(name, found.prog)
        return Owned(
            name=name,
            prog=found.prog,
            staged=found.staged,
            leftovers=found.leftovers,
            pins=found.paths,
            record=record,
            staged_record=self.whereabouts.record_of(name, found.staged),
            links=found.links,
            emptied=record is not None and found.prog is not None and is_emptied(self._pins, record, found.prog.id),
        )

    def _stage_shared(self, config: AttachmentConfig, place: Place, sha1: str) -> Staged | None:
        """Pin the loaded program of another entry for this one too, and its program arrays; None where there is none.

        One load is one object, program, values set in it, kind of hook and kernel: pins do not outlive the kernel.
        """
        for owner, prog_id, record in self._loaded_before(config, sha1):
            with ExitStack() as stack:
                pinned = self._open_loaded(config.name, owner, prog_id)
                if pinned is None:
                    continue
                prog, arrays = stack.enter_context(pinned[0]), pinned[1]
                for array in arrays.values():
                    stack.enter_context(array)
                self._pins.stage(config.name, prog, arrays)
                made = at_place(replace(record, attachment=config.name, object=str(config.object)), place)
                self._records.put(prog_id, made)
                return Staged(self._bpf.prog_info(prog), made, prog, stack.pop_all())
        return None

    def _open_loaded(self, name: str, owner: str, prog_id: ProgId) -> tuple[Fd, Mapping[str, Fd]] | None:
        return self.before.open(name, prog_id) if owner == name else self._pins.open_program(owner, prog_id)

    def _loaded_before(self, config: AttachmentConfig, sha1: str) -> Iterator[tuple[str, ProgId, Record]]:
        """Yield who has the program loaded: the entry itself before a change that waits, or one it shares with."""
        kept = frozenset(self.before.programs())
        shares = config.maps is MapSharing.SHARED
        for (owner, prog_id), record in self._records.all():
            usable = (owner, prog_id) in kept if owner == config.name else shares
            if usable and _is_same_load(record, config, sha1):
                yield owner, prog_id, record

    def _stage_loaded(self, config: AttachmentConfig, place: Place, loaded: LoadedObject) -> Staged:
        spec = loaded.prepared.spec
        function = find_program(spec, config.program).name
        prog, info = loaded.programs[function], loaded.infos[function]
        arrays = {name: found.fd for name, found in loaded.unpinned_program_arrays().items()}
        record = self.whereabouts.as_before(config.name, of_program(_record(config, place, spec), info, arrays))
        pinned = {str(found.pin): found.info.id for found in loaded.maps.values() if found.pin is not None}
        record = replace(record, pinned=json.dumps(pinned) if pinned else "")
        kept = (name for name in config.keep_maps if name in loaded.maps)
        arrays |= {name: loaded.maps[name].fd for name in kept if loaded.maps[name].pin is None}
        self._pins.stage(config.name, prog, arrays)
        self._records.put(info.id, record)
        self._core_logs.put(info.id, loaded.prepared)
        return Staged(info, record, prog, loaded)


def _is_same_load(record: Record, config: AttachmentConfig, sha1: str) -> bool:
    given = (record.maps == MapSharing.SHARED, record.sha1, record.program, record.hook, record.overrides)
    return given == (config.maps is MapSharing.SHARED, sha1, config.program, config.hook, overrides_of(config))


def _record(config: AttachmentConfig, place: Place, spec: ObjectSpec) -> Record:
    record = Record(
        attachment=config.name,
        object=str(config.object),
        sha1=spec.sha1,
        program=config.program,
        hook=config.hook,
        dialect=spec.dialect.value,
        why=spec.why,
        overrides=overrides_of(config),
        maps=config.maps.value,
    )
    return at_place(record, place)

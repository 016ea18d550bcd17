"""What a load would do about each map of an object, told by the rules of load/maps.py; reads, and makes nothing."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePosixPath

from xdploaderd.errors import LoaderError, PinMismatchError, error_context
from xdploaderd.hooks import OnMismatch
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import check_pin_path
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.fill import Entries, read_init
from xdploaderd.load.maps import MapRules
from xdploaderd.load.migrate import OldMap, check_copied, check_room, count_entries
from xdploaderd.load.pins import PinPaths, check_pins, open_pin, pin_path
from xdploaderd.load.reuse import check_agreed, check_reusable, differences
from xdploaderd.obj.map_document import FILLABLE
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.uapi.bpf import MapId


class MapFate(StrEnum):
    """What becomes of one map of an object."""

    CREATE = "create"
    REUSE = "reuse"  # what is pinned, as it is
    KEEP = "keep"  # the running program's, in no pin of its own
    SHARE = "share"  # with the program of another entry, which is taken as it is
    RECREATE = "recreate"  # a new one in the place of one that differs
    MIGRATE = "migrate"  # likewise, with a copy of its entries
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """One map: the pin it has then, the `entries` it is made with, and those that are `lost` with `old`, before it."""

    name: str
    fate: MapFate
    pin: PurePosixPath | None = None
    entries: int = 0
    lost: int = 0
    old: MapId | None = None
    reason: str = ""
    error: LoaderError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class EarlierLoads:
    """What loads that come before in the same plan leave: maps at pins that are free now, and in the place of others.

    `reused` are those that stay at their pins. All are filled by plan_maps.
    """

    made: MutableMapping[PurePosixPath, MapInfo] = field(default_factory=dict)
    supplanted: MutableMapping[PurePosixPath, MapInfo] = field(default_factory=dict)
    reused: MutableMapping[PurePosixPath, MapInfo] = field(default_factory=dict)


def plan_maps(
    prepared: PreparedObject, bpf: Bpf, pins: PinPaths, rules: MapRules, earlier: EarlierLoads
) -> tuple[MapPlan, ...]:
    """Return what load() would do about each map, in its order; a map that cannot be used tells its `error`.

    Raises LoaderError for what is wrong with the object as a whole, or with the files that `rules` name.
    """
    with error_context(f"object '{prepared.spec.name}'"):
        check_pins(pins, prepared)
        look = _Look(bpf, rules, read_init(prepared, rules.init), earlier)
        return tuple(look.plan(spec, pin_path(pins, prepared.spec, spec)) for spec in prepared.maps.values())


@dataclass(frozen=True, slots=True)
class _Look:
    """One load that is told of."""

    bpf: Bpf
    rules: MapRules
    entries: Entries
    earlier: EarlierLoads

    def plan(self, spec: MapSpec, path: PurePosixPath | None) -> MapPlan:
        try:
            with error_context(f"map '{spec.name}'"):
                return self._kept(spec) if path is None else self._pinned(spec, path)
        except LoaderError as error:
            return MapPlan(name=spec.name, fate=MapFate.REFUSE, pin=path, reason=str(error), error=error)

    def _kept(self, spec: MapSpec) -> MapPlan:
        fd = self.rules.kept.get(spec.name)
        if fd is None:
            return self._new(spec, None)
        info = self.bpf.map_info(fd)
        found = tuple(differences(spec, info))
        if not found:
            text = "the running program's map goes over with what it holds"
            return MapPlan(name=spec.name, fate=MapFate.KEEP, reason=text)
        if self.rules.on_mismatch is OnMismatch.REFUSE:
            message = f"the running program's map cannot be kept, it differs from the object's: {'; '.join(found)}"
            raise PinMismatchError(message, path="", differences=found)
        return self._supplant(spec, OldMap(fd, info, None, self.rules.on_mismatch is OnMismatch.MIGRATE))

    def _pinned(self, spec: MapSpec, path: PurePosixPath) -> MapPlan:
        check_pin_path(path)
        if path in self.earlier.made:
            return self._of_earlier(spec, path, self.earlier.made[path])
        fd = open_pin(self.bpf, path, ObjectKind.MAP)
        if fd is None:
            self.earlier.made[path] = _info_of(spec)
            return self._new(spec, path)
        with fd:
            return self._there(spec, path, fd)

    def _there(self, spec: MapSpec, path: PurePosixPath, fd: Fd) -> MapPlan:
        info = self.bpf.map_info(fd)
        rule = self.rules.on_mismatch
        after = self.earlier.supplanted.get(path)
        if rule is OnMismatch.REFUSE or not any(differences(spec, info)):
            check_reusable(spec, info, path)
            check_agreed(spec, after, path)
            self.earlier.reused[path] = info
            reason = f"map {info.id} is pinned there, it stays as it is"
            return MapPlan(name=spec.name, fate=MapFate.REUSE, pin=path, reason=reason)
        check_agreed(spec, self.earlier.reused.get(path), path)
        if after is not None:
            return self._of_earlier(spec, path, after)
        planned = self._supplant(spec, OldMap(fd, info, path, rule is OnMismatch.MIGRATE))
        self.earlier.supplanted[path] = _info_of(spec)
        return planned

    def _of_earlier(self, spec: MapSpec, path: PurePosixPath, info: MapInfo) -> MapPlan:
        if self.rules.on_mismatch is not OnMismatch.REFUSE:
            check_agreed(spec, info, path)
        check_reusable(spec, info, path)
        reason = "the one that another attachment of this plan makes there"
        return MapPlan(name=spec.name, fate=MapFate.REUSE, pin=path, reason=reason)

    def _supplant(self, spec: MapSpec, old: OldMap) -> MapPlan:
        found = f"map {old.info.id} differs: {'; '.join(differences(spec, old.info))}"
        if old.copied:
            check_copied(spec, old.info, old.path)
            check_room(self.bpf, old, spec)
        count = count_entries(self.bpf, old.fd, old.info) if old.info.type in FILLABLE else 0
        made = MapPlan(name=spec.name, fate=MapFate.MIGRATE, pin=old.path, entries=count, old=old.info.id, reason=found)
        if old.copied:
            return made
        return replace(made, fate=MapFate.RECREATE, entries=len(self.entries.get(spec.name, ())), lost=count)

    def _new(self, spec: MapSpec, path: PurePosixPath | None) -> MapPlan:
        given = len(self.entries.get(spec.name, ()))
        if given:
            reason = "starts with the entries of its file"
        elif spec.contents is not None:
            reason = "starts with the object's values"
        else:
            reason = "starts empty"
        if path is None:
            reason += ", in no pin"
        return MapPlan(name=spec.name, fate=MapFate.CREATE, pin=path, entries=given, reason=reason)


def _info_of(spec: MapSpec) -> MapInfo:
    """Return what the kernel will tell of a map made by that definition."""
    return MapInfo(
        id=MapId(0),
        type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=spec.max_entries,
        flags=spec.flags,
        name=spec.kernel_name,
        map_extra=spec.map_extra,
    )

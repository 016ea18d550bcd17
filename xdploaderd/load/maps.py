"""Create, reuse, pin and fill the maps of a prepared object (libbpf bpf_object__create_maps)."""

import errno
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from xdploaderd.errors import KernelError, LoaderError, PinError, PinMismatchError, error_context
from xdploaderd.hooks import OnMismatch
from xdploaderd.info import MapInfo
from xdploaderd.kernel.arena import settle_arena
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.bpffs import check_pin_path
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.modules import ModuleBtfs
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.fill import Entries, put_entries
from xdploaderd.load.migrate import OldMap, check_copied, copy_entries
from xdploaderd.load.missing import missing_for_map
from xdploaderd.load.pin_moves import aside_of
from xdploaderd.load.pins import PinPaths, open_pin, pin, pin_path
from xdploaderd.load.reuse import check_agreed, check_reusable, differences
from xdploaderd.obj.map_document import Document
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.obj.target_maps import MAPS_OF_MAPS, WITHOUT_BTF, WITHOUT_ENTRIES
from xdploaderd.uapi.bpf import MapId, MapType

_FIRST_KEY = (0).to_bytes(4, "little")  # of the one element of a data map: zero is the same in every byte order
_PIN_ATTEMPTS = 2  # the second one meets the map that another loader pinned meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMap:
    """A map in the kernel. `fd` belongs to the LoadedObject; `pin` None: not pinned by the object's own wish.

    `old`: another map, whose place this one takes when the load is committed.
    """

    spec: MapSpec
    fd: Fd
    info: MapInfo
    pin: PurePosixPath | None
    reused: bool
    old: OldMap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRules:
    """What a user wants of an object's maps besides what it says: by map, the entries that a new one gets.

    `on_mismatch`: what is done about pinned maps that differ; `side`: where new maps are pinned until they take the
    pins of these, None: beside them; `others`: where other loads have such maps, which are shared; `fresh`: maps of
    programs that other loads of the same change have, which are not supplanted. `kept`: running maps, borrowed, that
    stand for unpinned ones of the object.
    """

    init: Mapping[str, Document] = field(default_factory=dict)
    on_mismatch: OnMismatch = OnMismatch.REFUSE
    side: PurePosixPath | None = None
    others: tuple[PurePosixPath, ...] = ()
    fresh: AbstractSet[MapId] = frozenset()
    kept: Mapping[str, Fd] = field(default_factory=dict)


NO_RULES = MapRules()


@dataclass(frozen=True, slots=True)
class MapTypes:
    """BTFs that key and value types of maps are in, borrowed; `warnings` learns of maps that are made without.

    `entries`: what new maps hold from the start; `root`: of all pins.
    """

    btf: Fd | None
    modules: ModuleBtfs
    warnings: list[str] = field(default_factory=list)
    entries: Entries = field(default_factory=dict)
    rules: MapRules = NO_RULES
    root: PurePosixPath = field(default_factory=PurePosixPath)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who cleans up: `fds` closes descriptors, `undo` takes back pins and directories of a load that fails."""

    fds: ExitStack
    undo: ExitStack


def create_maps(
    prepared: PreparedObject, bpf: Bpf, pins: PinPaths, types: MapTypes, own: Ownership, *, partial: bool = False
) -> tuple[dict[str, LoadedMap], dict[str, LoaderError]]:
    """Create or reuse every map in order, fill and pin the new ones; return them and those that failed, with why.

    Without `partial` the first failure is raised.
    """
    loaded: dict[str, LoadedMap] = {}
    failed: dict[str, LoaderError] = {}
    for name, spec in prepared.maps.items():
        try:
            with error_context(f"map '{name}'"):
                path = pin_path(pins, prepared.spec, spec)
                loaded[name] = _create_or_reuse(bpf, spec, path, types, own)
        except LoaderError as error:
            if not partial:
                raise
            failed[name] = error
    return loaded, failed


def _create_or_reuse(bpf: Bpf, spec: MapSpec, path: PurePosixPath | None, types: MapTypes, own: Ownership) -> LoadedMap:
    if path is None and (kept := _keep(bpf, spec, types, own)):
        return kept
    if path is None:
        fd = own.fds.enter_context(create_map(bpf, spec, types))
        return LoadedMap(spec=spec, fd=fd, info=bpf.map_info(fd), pin=None, reused=False)
    for _ in range(_PIN_ATTEMPTS):
        if found := _reuse(bpf, spec, path, types, own):
            return found
        if made := _create_pinned(bpf, spec, path, types, own):
            return made
    raise PinError(f"cannot pin at '{path}': the path is taken by something that is not there to be opened")


def _keep(bpf: Bpf, spec: MapSpec, types: MapTypes, own: Ownership) -> LoadedMap | None:
    """Return the running map that stands for an unpinned one, or its copy; None where a new one is to be made."""
    fd = types.rules.kept.get(spec.name)
    if fd is None:
        return None
    info = bpf.map_info(fd)
    found = tuple(differences(spec, info))
    if not found:
        return LoadedMap(spec=spec, fd=fd, info=info, pin=None, reused=True)
    match types.rules.on_mismatch:
        case OnMismatch.REFUSE:
            message = f"the running program's map cannot be kept, it differs from the object's: {'; '.join(found)}"
            raise PinMismatchError(message, path="", differences=found)
        case OnMismatch.RECREATE:
            return None
        case OnMismatch.MIGRATE:
            return _supplant(bpf, spec, OldMap(fd, info, None, copied=True), types, own)


def _reuse(bpf: Bpf, spec: MapSpec, path: PurePosixPath, types: MapTypes, own: Ownership) -> LoadedMap | None:
    check_pin_path(path)
    fd = open_pin(bpf, path, ObjectKind.MAP)
    if fd is None:
        return None
    own.fds.enter_context(fd)
    info = bpf.map_info(fd)
    rule = types.rules.on_mismatch
    if rule is not OnMismatch.REFUSE and any(differences(spec, info)):
        check_agreed(spec, info if info.id in types.rules.fresh else None, path)
        return _supplant(bpf, spec, OldMap(fd, info, path, rule is OnMismatch.MIGRATE), types, own)
    check_reusable(spec, info, path)
    _check_stays(bpf, spec, path, types)
    return LoadedMap(spec=spec, fd=fd, info=info, pin=path, reused=True)


def _check_stays(bpf: Bpf, spec: MapSpec, path: PurePosixPath, types: MapTypes) -> None:
    """Raise PinMismatchError when the load of another entry has a map that takes this pin, and is not the object's."""
    for side in types.rules.others:
        if fd := open_pin(bpf, aside_of(path, types.root, side), ObjectKind.MAP):
            with fd:
                check_agreed(spec, bpf.map_info(fd), path)


def _supplant(bpf: Bpf, spec: MapSpec, old: OldMap, types: MapTypes, own: Ownership) -> LoadedMap:
    """Create the map that is to take the place of one that differs, with its entries where they are to be copied."""
    if found := _of_other_load(bpf, spec, old, types, own):
        return found
    if old.copied:
        check_copied(spec, old.info, old.path)
        types = replace(types, entries={})
    fd = own.fds.enter_context(create_map(bpf, spec, types))
    if old.copied:
        copy_entries(bpf, old, fd, spec)
    return LoadedMap(spec=spec, fd=fd, info=bpf.map_info(fd), pin=old.path, reused=False, old=old)


def _of_other_load(bpf: Bpf, spec: MapSpec, old: OldMap, types: MapTypes, own: Ownership) -> LoadedMap | None:
    """Return the map that the load of another entry has made for the same pin, if it fits: both are to share it."""
    if old.path is None:
        return None
    for side in types.rules.others:
        fd = open_pin(bpf, aside_of(old.path, types.root, side), ObjectKind.MAP)
        if fd is not None:
            own.fds.enter_context(fd)
            info = bpf.map_info(fd)
            check_agreed(spec, info, old.path)
            old = replace(old, copied=False)
            return LoadedMap(spec=spec, fd=fd, info=info, pin=old.path, reused=True, old=old)
    return None


def _create_pinned(bpf: Bpf, spec: MapSpec, path: PurePosixPath, types: MapTypes, own: Ownership) -> LoadedMap | None:
    """Create and pin a map; None when somebody else has taken the path since we looked."""
    with ExitStack() as mine:
        fd = mine.enter_context(create_map(bpf, spec, types))
        info = bpf.map_info(fd)
        if not pin(bpf, fd, path, own.undo):
            return None
        own.fds.push(mine.pop_all())
    return LoadedMap(spec=spec, fd=fd, info=info, pin=path, reused=False)


def create_map(bpf: Bpf, spec: MapSpec, types: MapTypes) -> Fd:
    """Create one map with its contents, frozen if so wanted; its type ids are dropped when the kernel takes none."""
    with ExitStack() as mine:
        inner = mine.enter_context(_create_typed(bpf, spec.inner, None, types)) if spec.inner else None
        fd = mine.enter_context(_create_typed(bpf, spec, inner, types))
        _fill(bpf, spec, fd)
        if types.entries.get(spec.name):
            put_entries(bpf, fd, types.entries[spec.name])
        if inner is not None:
            inner.close()
        mine.pop_all()
    return fd


def _fill(bpf: Bpf, spec: MapSpec, fd: Fd) -> None:
    """Give a new map its contents; those of a struct_ops map would put it in force, which loading does not."""
    if spec.type == MapType.ARENA:
        settle_arena(fd, spec.max_entries, spec.map_extra, spec.contents or b"")
    elif spec.contents is not None and spec.type != MapType.STRUCT_OPS:
        bpf.map_update(fd, _FIRST_KEY, spec.contents)
    if spec.freeze:
        bpf.map_freeze(fd)


def _create_typed(bpf: Bpf, spec: MapSpec, inner: Fd | None, types: MapTypes) -> Fd:
    typed = bool(spec.key_type_id or spec.value_type_id) and spec.type not in WITHOUT_BTF
    try:
        if spec.type == MapType.STRUCT_OPS:
            module = types.modules.open(spec.value_module) if spec.value_module else None
            return bpf.map_create(spec, btf=types.btf, module=module)
        if types.btf is None or not typed:
            return bpf.map_create(spec, inner=inner)
        return _create_with_types(bpf, spec, inner, types, types.btf)
    except KernelError as error:
        raise missing_for_map(spec) or _explained(spec, error) from None


def _explained(spec: MapSpec, error: KernelError) -> KernelError:
    """Return the error with what the definition lacks, where that is why the kernel refuses it."""
    if error.errno == errno.EINVAL and spec.type in MAPS_OF_MAPS and spec.inner is None:
        error.message += ": its definition does not say what maps it holds, want `values`"
    elif error.errno == errno.EINVAL and not spec.max_entries and spec.type not in WITHOUT_ENTRIES:
        error.message += ": its definition gives no max_entries"
    return error


def _create_with_types(bpf: Bpf, spec: MapSpec, inner: Fd | None, types: MapTypes, btf: Fd) -> Fd:
    try:
        return bpf.map_create(spec, btf=btf, inner=inner)
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise
        fd = bpf.map_create(spec, inner=inner)
        types.warnings.append(f"map '{spec.name}' is made without BTF, so that tools show bytes: {error}")
        return fd

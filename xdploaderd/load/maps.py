"""Create, reuse, pin and fill the maps of a prepared object (libbpf bpf_object__create_maps)."""

import errno
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.errors import KernelError, LoaderError, PinError, error_context
from xdploaderd.info import MapInfo
from xdploaderd.kernel.bpf import Bpf, ObjectKind
from xdploaderd.kernel.bpffs import check_pin_path
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.missing import missing_for_map
from xdploaderd.load.pins import PinPaths, open_pin, pin, pin_path
from xdploaderd.load.reuse import check_reusable
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.uapi.bpf import MapType

_FIRST_KEY = (0).to_bytes(4, "little")  # of the one element of a data map: zero is the same in every byte order

# The kernel refuses key and value types for these.
_WITHOUT_BTF = frozenset(
    {
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
    }
)
_PIN_ATTEMPTS = 2  # the second one meets the map that another loader pinned meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMap:
    """A map in the kernel. `fd` belongs to the LoadedObject; `pin` None: not pinned by the object's own wish."""

    spec: MapSpec
    fd: Fd
    info: MapInfo
    pin: PurePosixPath | None
    reused: bool


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who cleans up: `fds` closes descriptors, `undo` takes back pins and directories of a load that fails."""

    fds: ExitStack
    undo: ExitStack


def create_maps(
    prepared: PreparedObject, bpf: Bpf, pins: PinPaths, btf: Fd | None, own: Ownership, *, partial: bool = False
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
                loaded[name] = _create_or_reuse(bpf, spec, path, btf, own)
        except LoaderError as error:
            if not partial:
                raise
            failed[name] = error
    return loaded, failed


def _create_or_reuse(bpf: Bpf, spec: MapSpec, path: PurePosixPath | None, btf: Fd | None, own: Ownership) -> LoadedMap:
    if path is None:
        fd = own.fds.enter_context(create_map(bpf, spec, btf))
        return LoadedMap(spec=spec, fd=fd, info=bpf.map_info(fd), pin=None, reused=False)
    for _ in range(_PIN_ATTEMPTS):
        if found := _reuse(bpf, spec, path, own.fds):
            return found
        if made := _create_pinned(bpf, spec, path, btf, own):
            return made
    raise PinError(f"cannot pin at '{path}': the path is taken by something that is not there to be opened")


def _reuse(bpf: Bpf, spec: MapSpec, path: PurePosixPath, fds: ExitStack) -> LoadedMap | None:
    check_pin_path(path)
    fd = open_pin(bpf, path, ObjectKind.MAP)
    if fd is None:
        return None
    fds.enter_context(fd)
    info = bpf.map_info(fd)
    check_reusable(spec, info, path)
    return LoadedMap(spec=spec, fd=fd, info=info, pin=path, reused=True)


def _create_pinned(bpf: Bpf, spec: MapSpec, path: PurePosixPath, btf: Fd | None, own: Ownership) -> LoadedMap | None:
    """Create and pin a map; None when somebody else has taken the path since we looked."""
    with ExitStack() as mine:
        fd = mine.enter_context(create_map(bpf, spec, btf))
        info = bpf.map_info(fd)
        if not pin(bpf, fd, path, own.undo):
            return None
        own.fds.push(mine.pop_all())
    return LoadedMap(spec=spec, fd=fd, info=info, pin=path, reused=False)


def create_map(bpf: Bpf, spec: MapSpec, btf: Fd | None) -> Fd:
    """Create one map with its contents, frozen if so wanted; its type ids are dropped when the kernel takes none."""
    with ExitStack() as mine:
        inner = mine.enter_context(_create_typed(bpf, spec.inner, None, btf)) if spec.inner else None
        fd = mine.enter_context(_create_typed(bpf, spec, inner, btf))
        if spec.contents is not None:
            bpf.map_update(fd, _FIRST_KEY, spec.contents)
        if spec.freeze:
            bpf.map_freeze(fd)
        if inner is not None:
            inner.close()
        mine.pop_all()
    return fd


def _create_typed(bpf: Bpf, spec: MapSpec, inner: Fd | None, btf: Fd | None) -> Fd:
    typed = bool(spec.key_type_id or spec.value_type_id) and spec.type not in _WITHOUT_BTF
    if btf is not None and typed:
        try:
            return bpf.map_create(spec, btf=btf, inner=inner)
        except KernelError as error:
            if error.errno == errno.EPERM:
                raise
    try:
        return bpf.map_create(spec, inner=inner)
    except KernelError as error:
        raise missing_for_map(spec) or error from None

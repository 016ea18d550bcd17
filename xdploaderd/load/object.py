"""Load: a PreparedObject into the kernel, all or nothing (libbpf bpf_object__load).

Order: BTF, maps (reused, or created, filled and pinned), programs, program arrays. Whatever fails closes every
descriptor and takes back every pin and directory that this load made; what was reused stays as it was.
"""

import sys
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self

from xdploaderd.errors import KernelError, LoaderError, ObjectError, error_context
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.modules import ModuleBtfs
from xdploaderd.kernel.probes import ensure_memlock
from xdploaderd.kernel.prog_load import kernel_name
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.fill import Entries, read_init
from xdploaderd.load.maps import NO_RULES, LoadedMap, MapRules, MapTypes, Ownership, create_maps
from xdploaderd.load.migrate import copy_again
from xdploaderd.load.pin_moves import PinMoves
from xdploaderd.load.pins import PinPaths, check_pins
from xdploaderd.load.programs import ProgInfos, ProgramLoader
from xdploaderd.load.slots import fill_map_of_maps, fill_program_arrays
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.uapi.bpf import MapType

NO_TARGETS: Mapping[str, Fd] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedObject:
    """Programs and maps in the kernel; owns their descriptors and closes them at the end of its `with` block.

    The pins that this load made belong to it until `commit`: a block that an exception leaves before takes them back,
    so that attaching, or pinning the programs, is part of all or nothing. Pins that were reused are never removed, and
    those of maps that others are to supplant go over to them by `commit`.
    `failed` names what could not be loaded when a part was allowed to fail.
    """

    prepared: PreparedObject
    programs: Mapping[str, Fd]
    maps: Mapping[str, LoadedMap]
    infos: Mapping[str, ProgInfo]
    failed: Mapping[str, LoaderError]
    warnings: tuple[str, ...]
    own: Ownership
    moves: PinMoves

    def commit(self) -> None:
        """Let the pins stay whatever happens from here on. Raises PinError when one cannot go over to its new map."""
        self.moves.finish()
        self.own.undo.pop_all()

    def close(self) -> None:
        """Commit and close every descriptor. Raises as commit does, and then the pins stay as they are."""
        with self.own.fds:
            self.moves.finish()
            self.own.undo.pop_all()

    def unpinned_program_arrays(self) -> Mapping[str, LoadedMap]:
        """Return the program arrays that nothing pins: the kernel empties one when its last user reference goes."""
        return {n: m for n, m in self.maps.items() if m.pin is None and m.spec.type == MapType.PROG_ARRAY}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.moves.give_up()
            self.own.undo.close()
        self.close()


def load(
    prepared: PreparedObject,
    bpf: Bpf,
    pins: PinPaths,
    *,
    partial: bool = False,
    targets: Mapping[str, Fd] = NO_TARGETS,
    rules: MapRules = NO_RULES,
) -> LoadedObject:
    """Create the maps and load the programs of a prepared object.

    With `partial`, programs and maps that fail are listed in `failed` beside those that preparation gave up, and the
    rest is loaded. `targets` are the loaded programs that programs of the object attach to, by the name of the latter,
    borrowed. `rules` say what its maps are to hold. Raises LoaderError; then nothing is left.
    """
    with error_context(lambda: f"object '{prepared.spec.name}'"):
        if prepared.spec.byteorder != sys.byteorder:
            raise ObjectError(f"the object is {prepared.spec.byteorder}-endian, wanted {sys.byteorder}-endian")
        check_pins(pins, prepared)
        wanted = _Wanted(prepared, pins, targets, rules, read_init(prepared, rules.init), partial)
        own = Ownership(fds=ExitStack(), undo=ExitStack())
        try:
            return _load(wanted, bpf, own)
        except BaseException:
            with own.fds:
                own.undo.close()
            raise


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One load: the object and what goes with it."""

    prepared: PreparedObject
    pins: PinPaths
    targets: Mapping[str, Fd]
    rules: MapRules
    entries: Entries
    partial: bool


def _load(wanted: _Wanted, bpf: Bpf, own: Ownership) -> LoadedObject:
    prepared, partial = wanted.prepared, wanted.partial
    warnings = [*prepared.warnings, *_unusable_names(prepared)]
    failed = dict(prepared.failed)
    ensure_memlock(bpf)
    with _load_btf(prepared, bpf, warnings) or nullcontext() as btf, ModuleBtfs(bpf) as modules:
        types = MapTypes(btf, modules, warnings, wanted.entries, wanted.rules, wanted.pins.root)
        maps, failed_maps = create_maps(prepared, bpf, wanted.pins, types, own, partial=partial)
        warnings.extend(_unconfigured_pins(maps))
        failed_maps |= _fill_maps(bpf, maps, partial=partial)
        loader = ProgramLoader(
            bpf=bpf,
            prepared=prepared,
            maps=maps,
            failed_maps=failed_maps,
            btf=btf,
            modules=modules,
            targets=wanted.targets,
        )
        programs = _load_programs(loader, prepared, own, failed, partial=partial)
    fill_program_arrays(bpf, maps, programs, prepared.spec.dialect, own)
    for name, error in failed_maps.items():
        failed.setdefault(name, error)
    moves = PinMoves(wanted.pins.root, wanted.rules.side)
    _supplant(bpf, maps, moves, own)
    return LoadedObject(
        prepared=prepared,
        programs=programs,
        maps=maps,
        infos=ProgInfos(bpf, programs),
        failed=failed,
        warnings=tuple(warnings),
        own=own,
        moves=moves,
    )


def _supplant(bpf: Bpf, maps: Mapping[str, LoadedMap], moves: PinMoves, own: Ownership) -> None:
    """Copy what was written into old maps while programs were loaded, which takes longest, and pin the new ones."""
    for name, found in maps.items():
        if found.old is not None:
            with error_context(f"map '{name}'"):
                if found.old.copied:
                    copy_again(bpf, found.old, found.fd, found.info)
                if found.old.path is not None:
                    moves.stage(bpf, found.fd, found.old.path, own.undo)


def _load_btf(prepared: PreparedObject, bpf: Bpf, warnings: list[str]) -> Fd | None:
    """Load the object's BTF; without it programs and most maps still load, so a refusal is a warning."""
    if prepared.btf is None:
        return None
    try:
        return bpf.btf_load(prepared.btf)
    except KernelError as error:
        warnings.append(f"loaded without BTF: {error}")
        return None


def _fill_maps(bpf: Bpf, maps: dict[str, LoadedMap], *, partial: bool) -> dict[str, LoaderError]:
    """Fill the maps of maps; with `partial`, one that cannot be filled is taken out of `maps` and returned with why."""
    failed: dict[str, LoaderError] = {}
    for name, loaded in tuple(maps.items()):
        try:
            with error_context(f"map '{name}'"):
                fill_map_of_maps(bpf, loaded, maps)
        except LoaderError as error:
            if not partial:
                raise
            failed[name] = error
            del maps[name]
    return failed


def _load_programs(
    loader: ProgramLoader, prepared: PreparedObject, own: Ownership, failed: dict[str, LoaderError], *, partial: bool
) -> dict[str, Fd]:
    programs: dict[str, Fd] = {}
    for name, prog in prepared.programs.items():
        try:
            with error_context(f"prog '{name}'"):
                programs[name] = own.fds.enter_context(loader.load(prog))
        except LoaderError as error:
            if not partial:
                raise
            failed[name] = error
    return programs


def _unusable_names(prepared: PreparedObject) -> list[str]:
    """Say which programs the kernel will know without a name: it takes letters, digits, `_` and `.` only."""
    return [
        f"prog '{name}': loaded without a name, the kernel takes none with such characters"
        for name, prog in prepared.programs.items()
        if prog.spec.has_symbol and not kernel_name(name)
    ]


def _unconfigured_pins(maps: Mapping[str, LoadedMap]) -> list[str]:
    """Say which maps want a pinning value that no configuration names: iproute2 leaves them unpinned in silence."""
    return [
        f"map '{name}': not pinned, no configuration says where pinning value {loaded.spec.pinning} goes"
        for name, loaded in maps.items()
        if loaded.spec.is_legacy and loaded.spec.pinning and loaded.pin is None
    ]

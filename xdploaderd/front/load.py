"""A program for a hook as `ip` and `tc` get it: from an object file, or from a pin.

Follows bpf_obj_open of iproute2 lib/bpf_legacy.c and load_bpf_object of lib/bpf_libbpf.c, for objects of both
generations; but what a failed load made goes again.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from xdploaderd.config.pinning import DEFAULT_BY_NAME, PinningConf
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import PinError
from xdploaderd.front.bpf_root import GLOBALS, find_root, make_hierarchy, work_dir_of
from xdploaderd.front.bpfspec import BpfMode, BpfSpec, default_section, object_path
from xdploaderd.front.kept_arrays import drop_arrays, keep_arrays
from xdploaderd.front.verbose import report
from xdploaderd.front.words import EXIT_KERNEL, refused
from xdploaderd.hooks import Hook
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.probes import ensure_memlock
from xdploaderd.kernel.syscall import Fd, offloaded
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.pinning_files import PINNING_CONF, read_pinning
from xdploaderd.load.pins import pin_path, work_dir
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import find_program, first_in_section, program_for, select_programs
from xdploaderd.obj.spec import ObjectSpec, PreparedObject
from xdploaderd.uapi.bpf import ProgType

Say = Callable[[str], None]
_HOOKS = {ProgType.XDP: Hook.XDP, ProgType.SCHED_CLS: Hook.TC_INGRESS}
_SHORT = "m:"  # of a pin's path: below the work directory


@dataclass(frozen=True, slots=True, kw_only=True)
class HookProgram:
    """A program in the kernel, for its hook; owns its descriptors, which the end of its `with` block closes.

    A block that an exception leaves also takes back every pin that the load made: attaching is part of all or nothing.
    `loaded` None: the program was pinned before.
    """

    spec: BpfSpec
    fd: Fd
    info: ProgInfo
    loaded: LoadedObject | None
    stack: ExitStack

    def close(self) -> None:
        """Close every descriptor; pins stay."""
        self.stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)


def load_for_hook(
    spec: BpfSpec, bpf: Bpf, *, say: Say, ifindex: int = 0, environ: Mapping[str, str] = os.environ
) -> HookProgram:
    """Return the program that a spec names: loaded, with maps pinned as `ip` and `tc` pin them, or opened by its pin.

    `say` gets warnings and, with `verbose`, a report and the verifier's log. `ifindex` is that of the interface whose
    hardware is to run the program, else 0. The caller owns the program. Raises LoaderError; then nothing is left.
    """
    if spec.mode is BpfMode.PINNED:
        return _open_pinned(spec, bpf, environ)
    path = object_path(spec)
    obj = select_for_hook(open_object(read_object(path), name=path.name), spec)
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)))
    conf = read_pinning(PINNING_CONF)
    _warn(say, (*conf.warnings, *obj.warnings))
    with ExitStack() as stack:
        pins = _pins_for(prepared, conf, environ, say, _undone_on_error(stack))
        drop_arrays(bpf, pins.root)
        loaded = stack.enter_context(load(prepared, _door(bpf, ifindex, say if spec.verbose else None), pins))
        _warn(say, loaded.warnings)
        name = chosen_program(obj, spec)
        info = loaded.infos[name]
        keep_arrays(bpf, pins.root, info.id, loaded.unpinned_program_arrays(), _undone_on_error(stack))
        if spec.verbose:
            _say_each(say, report(loaded))
        return HookProgram(spec=spec, fd=loaded.programs[name], info=info, loaded=loaded, stack=stack.pop_all())


def select_for_hook(obj: ObjectSpec, spec: BpfSpec) -> ObjectSpec:
    """Return the object with only the program of a spec, and those of its tail calls, to be loaded.

    `program` is a function's name and counts more than `section`; of several programs in a section the first is taken.
    Where neither is named, iproute2's default section is looked for, and then the only program that fits the hook.
    Raises NoSuchProgramError.
    """
    name = chosen_program(obj, spec)
    hook = _HOOKS.get(spec.kind)
    types = {} if hook else {name: spec.kind}
    return select_programs(obj, hook=hook, types=types, names=(name,))


def chosen_program(obj: ObjectSpec, spec: BpfSpec) -> str:
    """Return the name of the program that a spec means; see select_for_hook. Raises NoSuchProgramError."""
    if spec.program:
        return find_program(obj, spec.program).name
    if spec.section:
        return first_in_section(obj, spec.section).name
    section = default_section(spec.kind)
    if any(program.section == section for program in obj.programs.values()):
        return first_in_section(obj, section).name
    if hook := _HOOKS.get(spec.kind):
        return program_for(obj, hook).name
    return first_in_section(obj, section).name


def _open_pinned(spec: BpfSpec, bpf: Bpf, environ: Mapping[str, str]) -> HookProgram:
    path = pinned_path(spec.operand, spec.kind, environ)
    with ExitStack() as stack:
        fd = stack.enter_context(bpf.obj_get(path))
        if (kind := bpf.kind_of(fd)) is not ObjectKind.PROG:  # iproute2 lets netlink find out
            raise refused(f"'{path}' is a pinned {kind}, wanted a pinned program", status=EXIT_KERNEL)
        return HookProgram(spec=spec, fd=fd, info=bpf.prog_info(fd), loaded=None, stack=stack.pop_all())


def pinned_path(operand: str, kind: ProgType, environ: Mapping[str, str] = os.environ) -> PurePosixPath:
    """Return the path of a pin; `m:REST` lies in the work directory of that kind of programs."""
    if not operand.startswith(_SHORT) or operand == _SHORT:
        return PurePosixPath(os.path.abspath(operand))
    root = find_root(read_pinning(PINNING_CONF).root, environ)
    return root / work_dir_of(kind) / operand.removeprefix(_SHORT)


def _pins_for(
    prepared: PreparedObject, conf: PinningConf, environ: Mapping[str, str], say: Say, undo: ExitStack
) -> PinningConf:
    """Return where maps go, the directories being made; without a BPF file system, refuse an object that needs one."""
    try:
        root = find_root(conf.root, environ)
        make_hierarchy(root, undo)
    except PinError as error:
        if any(pin_path(conf, prepared.spec, spec) for spec in prepared.maps.values()):
            raise
        say(f"warning: {error}; no map asks to be pinned")
        return conf
    return replace(conf, root=root, by_name=_by_name(conf, root, prepared.spec))


def _by_name(conf: PinningConf, root: PurePosixPath, obj: ObjectSpec) -> PurePosixPath:
    """Return where maps pinned by name go: where iproute2 lets libbpf pin them, unless the administrator says so."""
    return PurePosixPath(work_dir(root, obj), GLOBALS) if conf.by_name == DEFAULT_BY_NAME else conf.by_name


def _undone_on_error(stack: ExitStack) -> ExitStack:
    """Return a stack that is unwound when an exception comes to its place in `stack`, and forgotten otherwise."""
    undo = ExitStack()

    def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            undo.close()
        undo.pop_all()

    stack.push(leave)
    return undo


def _door(bpf: Bpf, ifindex: int, say: Say | None) -> Bpf:
    """Return the door for a load: to an interface's hardware, telling the verifier's log, or as it is."""
    if say is None and not ifindex:
        return bpf
    ensure_memlock(bpf)  # its trial program is nobody's business
    call = offloaded(ifindex, bpf.call) if ifindex else bpf.call
    door = Bpf(call, prog_log=partial(_say_log, say) if say else None)
    door.answers = bpf.answers
    return door


def _say_log(say: Say, log: Iterable[str]) -> None:
    _say_each(say, (f"  {line}" for line in log))


def _warn(say: Say, warnings: Iterable[str]) -> None:
    _say_each(say, (f"warning: {warning}" for warning in dict.fromkeys(warnings)))


def _say_each(say: Say, lines: Iterable[str]) -> None:
    for line in lines:
        say(line)

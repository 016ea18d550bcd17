"""Is a program in the kernel that of an object? A test load tells: the kernel gives the same instructions the same tag.

The tag leaves out descriptors of maps (bpf_prog_calc_tag() in kernel/bpf/core.c), so neither maps nor what is in them
decide, and how it is computed is the kernel's business, which changed in Linux 6.18.
"""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from xdploaderd.errors import LoaderError, NoSuchProgramError
from xdploaderd.hooks import Hook
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.object import load
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import Need, ObjectSpec, PreparedObject, TargetKernel

NAME_BYTES: Final = 15  # of a program's name, in the kernel
MOST_LOADS: Final = 16


class _Unpinned:
    """Pin paths for a load that must leave nothing, and reuse nothing."""

    root = PurePosixPath("/sys/fs/bpf")

    def map_path(
        self, _name: str, _pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        return None


def trial_load(prepared: PreparedObject, bpf: Bpf, program: str) -> ProgInfo:
    """Load a prepared object and let it go; return what the kernel told of one program. Raises as load() does."""
    with load(prepared, bpf, _Unpinned()) as loaded:
        return loaded.infos[program]


def find_same(
    obj: ObjectSpec, running: ProgInfo, hook: Hook, bpf: Bpf, target: Callable[[frozenset[Need]], TargetKernel]
) -> str:
    """Return the name of the object's program that is `running`; raise NoSuchProgramError where none is.

    Programs of the kernel's name are tried first, at most 16 in all.
    """
    named = [name for name in obj.programs if running.name and name[:NAME_BYTES] == running.name]
    others = [name for name in obj.programs if name not in named]
    for name in (*named, *others)[:MOST_LOADS]:
        try:
            chosen = select_programs(obj, hook=hook, names=(name,))
            found = trial_load(prepare(chosen, target(target_needs(chosen))), bpf, name)
        except LoaderError:
            continue  # what does not load here is not what runs here
        if (found.tag, found.type) == (running.tag, running.type):
            return name
    raise NoSuchProgramError(f"no program of the object is program {running.id} (tag {running.tag})")

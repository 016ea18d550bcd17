"""One step from an object file of tests/bpf to the running kernel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from xdploaderd.config.pinning import PinningConf
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.pins import PinPaths
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import leave_out_maps, set_globals
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.select import select_programs
from xdploaderd.uapi.bpf import ProgType

OBJECTS = Path(__file__).parents[1] / "bpf"
DEFAULT_PINS = PinningConf()
NO_GLOBALS: Mapping[str, str] = MappingProxyType({})


def load_file(
    name: str,
    bpf: Bpf,
    pins: PinPaths = DEFAULT_PINS,
    *,
    types: Mapping[str, ProgType] | None = None,
    names: Sequence[str] = (),
    globals_: Mapping[str, str] = NO_GLOBALS,
    without: Sequence[str] = (),
    partial: bool = False,
) -> LoadedObject:
    """Load tests/bpf/NAME.bpf.o, or some programs of it, without some maps; the caller closes it, removes its pins."""
    path = OBJECTS / f"{name}.bpf.o"
    obj = select_programs(open_object(path.read_bytes(), name=path.name), types=types, names=names)
    obj = leave_out_maps(set_globals(obj, globals_), without)
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)), partial=partial)
    return load(prepared, bpf, pins, partial=partial)

"""One step from an object file of tests/bpf to the running kernel."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from xdploaderd.config.pinning import PinningConf
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.object import LoadedObject, load
from xdploaderd.load.pins import PinPaths
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import set_globals
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
    globals_: Mapping[str, str] = NO_GLOBALS,
    partial: bool = False,
) -> LoadedObject:
    """Load tests/bpf/NAME.bpf.o; the caller closes it and removes its pins."""
    path = OBJECTS / f"{name}.bpf.o"
    obj = set_globals(select_programs(open_object(path.read_bytes(), name=path.name), types=types), globals_)
    prepared = prepare(obj, running_kernel(bpf, target_needs(obj)), partial=partial)
    return load(prepared, bpf, pins, partial=partial)

"""The Python interface for others: open an object, prepare it for any kernel, cut a kernel's BTF down.

docs/python-api.md shows it by example. What is named here keeps its name and meaning; modules below it may
move. None of it needs a privilege or calls bpf(2), and none of it keeps a file descriptor.
"""

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import CoreRelocationError, LoaderError, ObjectError, RelocationError
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.btf_sections import CoreObject, read_core_object
from xdploaderd.obj.core_record import CoreDifference, core_differences, core_log
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import MapSpec, ObjectSpec, PreparedObject, PreparedProgram, ProgramSpec, TargetKernel
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure
from xdploaderd.uapi.bpf import MapType, ProgType

__all__ = [
    "Btf",
    "CoreDecision",
    "CoreDifference",
    "CoreFailure",
    "CoreObject",
    "CoreRelocationError",
    "LoaderError",
    "MapSpec",
    "MapType",
    "ObjectError",
    "ObjectSpec",
    "PreparedObject",
    "PreparedProgram",
    "ProgType",
    "ProgramSpec",
    "RelocationError",
    "TargetKernel",
    "core_differences",
    "core_log",
    "minimize",
    "open_object",
    "prepare",
    "read_core_object",
    "select_programs",
    "target_from_file",
]

"""The Python interface for others: open an object, prepare it for any kernel, judge it, cut a kernel's BTF down.

docs/python-api.md shows it by example. What is named here keeps its name and meaning; modules below it may
move. None of it needs a privilege or calls bpf(2), and none of it keeps a file descriptor.
"""

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import CoreRelocationError, LoaderError, ObjectError, RelocationError
from xdploaderd.kernel.btf_search import FoundBtf, btf_files, find_btf
from xdploaderd.kernel.known import GivenFacts, installed_kernel, kernel_of_file, target_from_file
from xdploaderd.obj.btf_sections import CoreObject, read_core_object
from xdploaderd.obj.core_record import CoreDifference, core_differences, core_log
from xdploaderd.obj.minimize import minimize
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import MapSpec, ObjectSpec, PreparedObject, PreparedProgram, ProgramSpec, TargetKernel
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure
from xdploaderd.uapi.bpf import MapType, ProgType
from xdploaderd.verdict.model import Check, Subject, Verdict, overall
from xdploaderd.verdict.report import KernelUnderTest, Report, make_report

__all__ = [
    "Btf",
    "Check",
    "CoreDecision",
    "CoreDifference",
    "CoreFailure",
    "CoreObject",
    "CoreRelocationError",
    "FoundBtf",
    "GivenFacts",
    "KernelUnderTest",
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
    "Report",
    "Subject",
    "TargetKernel",
    "Verdict",
    "btf_files",
    "core_differences",
    "core_log",
    "find_btf",
    "installed_kernel",
    "kernel_of_file",
    "make_report",
    "minimize",
    "open_object",
    "overall",
    "prepare",
    "read_core_object",
    "select_programs",
    "target_from_file",
]

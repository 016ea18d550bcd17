"""A loaded program named by a pin while a real tool runs, which takes programs by their pins alone."""

import os
from contextlib import ExitStack
from pathlib import PurePosixPath

from xdploaderd.errors import PinError
from xdploaderd.front.bpf_root import find_root
from xdploaderd.front.kept_arrays import KEPT
from xdploaderd.front.load import HookProgram
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.pinning_files import read_pinning
from xdploaderd.load.pins import pin


def pin_for_now(program: HookProgram, bpf: Bpf, number: int, stack: ExitStack) -> PurePosixPath:
    """Return the path of a pin that goes with `stack`; `number` tells those of one command apart. Raises PinError."""
    root = find_root(read_pinning().root, os.environ)
    path = root / KEPT / f"for_{os.getpid()}_{number}"
    if not pin(bpf, program.fd, path, stack):
        raise PinError(f"'{path}' exists already")
    return path

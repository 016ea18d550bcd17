"""Loaded programs that others attach to: freplace, and fentry and fexit of programs (libbpf_find_prog_btf_id)."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import ObjectError, PinError, error_context
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.syscall import Fd
from xdploaderd.load.pins import open_pin
from xdploaderd.printable import quoted


def open_attach_targets(
    bpf: Bpf, pins: Mapping[str, PurePosixPath], stack: ExitStack
) -> tuple[Mapping[str, Fd], Mapping[str, Btf]]:
    """Return descriptors, which `stack` closes, and BTFs of the programs pinned there.

    PinError where none is pinned, ObjectError for a program without BTF, KernelError.
    """
    fds: dict[str, Fd] = {}
    btfs: dict[str, Btf] = {}
    for name, path in pins.items():
        with error_context(f"target of prog {quoted(name)}"):
            fd = open_pin(bpf, path, ObjectKind.PROG)
            if fd is None:
                raise PinError(f"nothing is pinned at '{path}', wanted a program")
            fds[name] = stack.enter_context(fd)
            btfs[name] = _btf_of(bpf, fd, path)
    return fds, btfs


def _btf_of(bpf: Bpf, fd: Fd, path: PurePosixPath) -> Btf:
    btf_id = bpf.prog_info(fd).btf_id
    if btf_id is None:
        raise ObjectError(f"the program pinned at '{path}' has no BTF, so that its functions cannot be found by name")
    with bpf.btf_by_id(btf_id) as btf:
        return Btf.parse(bpf.btf_raw(btf), name=str(path))

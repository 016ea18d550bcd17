"""BTFs of kernel modules: found by name among all loaded BTFs (libbpf load_module_btfs)."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from xdploaderd.errors import FeatureMissingError, KernelError
from xdploaderd.info import BtfInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd

_VMLINUX = "vmlinux"


def module_btfs(bpf: Bpf) -> Iterator[tuple[BtfInfo, Fd]]:
    """Yield every module's BTF, ascending by id; each descriptor is the caller's. Raises KernelError."""
    for btf_id in bpf.btf_ids():
        try:
            fd = bpf.btf_by_id(btf_id)
        except KernelError as error:
            if error.errno == errno.ENOENT:  # unloaded since
                continue
            raise
        with ExitStack() as stack:
            stack.enter_context(fd)
            info = bpf.btf_info(fd)
            if info.kernel and info.name != _VMLINUX:
                stack.pop_all()
                yield info, fd


class ModuleBtfs:
    """Descriptors of modules' BTFs, opened when first asked for and closed at the end of the `with` block."""

    def __init__(self, bpf: Bpf) -> None:
        self._bpf = bpf
        self._fds: dict[str, Fd] = {}

    def open(self, name: str) -> Fd:
        """Return a module's BTF; it stays ours. Raises FeatureMissingError when the module is not loaded."""
        if name not in self._fds:
            for info, fd in module_btfs(self._bpf):
                if info.name in self._fds:
                    fd.close()
                else:
                    self._fds[info.name] = fd
        if name not in self._fds:
            raise FeatureMissingError(f"module '{name}' is not loaded, or has no BTF", feature="module_btf")
        return self._fds[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._fds:
            self._fds.popitem()[1].close()

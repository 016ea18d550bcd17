"""The running kernel, which objects are prepared for and loaded into (libbpf btf.c); kernel/known.py has others.

Only needed facts are read: vmlinux BTF takes 5 MB, kallsyms 10.
"""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import overload

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import KernelError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.facts import possible_cpus, read_kallsyms, read_kconfig, running_version_code
from xdploaderd.kernel.modules import module_btfs
from xdploaderd.kernel.probes import PREPARE_FEATURES, TRACING_FEATURES, probe_features
from xdploaderd.kernel.vmlinux import vmlinux_btf
from xdploaderd.obj.spec import Need, TargetKernel
from xdploaderd.uapi.bpf import Feature

log = logging.getLogger(__name__)


def running_kernel(bpf: Bpf, needs: frozenset[Need]) -> TargetKernel:
    """Return the running kernel with the needed facts (obj.prepare.target_needs).

    Raises FeatureMissingError when BTF is needed and the kernel has none, BtfError when it is malformed. What else
    cannot be read is None, for the preparation to say what it lacks.
    """
    release = os.uname().release
    return TargetKernel(
        release=release,
        version_code=running_version_code(),
        btfs=_btfs(bpf, needs),
        features=probe_features(bpf, _features(needs)),
        kconfig=read_kconfig(release) if Need.KCONFIG in needs else None,
        kallsyms=read_kallsyms() if Need.KALLSYMS in needs else None,
        nr_cpus=len(possible_cpus()),
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )


def _features(needs: frozenset[Need]) -> tuple[Feature, ...]:
    tracing = TRACING_FEATURES if Need.TRACING_FEATURES in needs else ()
    tags = (Feature.ARG_CTX_TAG,) if Need.ARG_CTX_TAG in needs else ()
    return (*PREPARE_FEATURES, *tracing, *tags)


class KernelBtfs(Sequence[Btf]):
    """vmlinux, and the modules listed at the first look behind it: most objects find all they need in vmlinux."""

    def __init__(self, vmlinux: Btf, modules: Callable[[], Sequence[Btf]]) -> None:
        self._vmlinux = vmlinux
        self._list_modules = modules

    @functools.cached_property
    def _all(self) -> Sequence[Btf]:
        return (self._vmlinux, *self._list_modules())

    def __len__(self) -> int:
        """Return the number of all."""
        return len(self._all)

    def __bool__(self) -> bool:
        """Tell that there is one, without listing the others."""
        return True

    @overload
    def __getitem__(self, place: int) -> Btf: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Btf]: ...

    def __getitem__(self, place: int | slice) -> Btf | Sequence[Btf]:
        """Return one or some; the first alone is there from the start."""
        if place == 0:
            return self._vmlinux
        if place == slice(1):
            return (self._vmlinux,)
        return self._all[place]


def _btfs(bpf: Bpf, needs: frozenset[Need]) -> Sequence[Btf]:
    if Need.MODULE_BTF in needs:
        return KernelBtfs(vmlinux_btf(), lambda: _modules(bpf, vmlinux_btf()))
    return (vmlinux_btf(),) if Need.VMLINUX_BTF in needs else ()


def _modules(bpf: Bpf, vmlinux: Btf) -> tuple[Btf, ...]:
    """Return the BTFs of all modules; none when we may not list them (needs CAP_SYS_ADMIN)."""
    found = []
    try:
        with ExitStack() as stack:
            for info, fd in module_btfs(bpf):
                stack.enter_context(fd)
                found.append(Btf.parse(bpf.btf_raw(fd), name=info.name, base=vmlinux, trusted=True))
    except KernelError as error:
        log.debug("modules' BTFs are left out: %s", error)
        return ()
    return tuple(found)

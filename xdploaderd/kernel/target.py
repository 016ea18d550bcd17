"""The kernel that an object is prepared for: the running one, or one known by its BTF file (libbpf btf.c).

Only needed facts are read: vmlinux BTF takes 5 MB, kallsyms 10.
"""

import functools
import logging
import os
from contextlib import ExitStack
from pathlib import Path

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import FeatureMissingError, FileError, KernelError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.btf_file import read_btf_file
from xdploaderd.kernel.facts import possible_cpus, read_kallsyms, read_kconfig, running_version_code
from xdploaderd.kernel.modules import module_btfs
from xdploaderd.kernel.probes import PREPARE_FEATURES, TRACING_FEATURES, probe_features
from xdploaderd.kernel.syscall import map_file
from xdploaderd.obj.spec import Need, TargetKernel
from xdploaderd.uapi.bpf import Feature

log = logging.getLogger(__name__)
VMLINUX = Path("/sys/kernel/btf/vmlinux")

# Where distributions put a vmlinux for kernels that do not show their BTF in sysfs; {} is the release.
_ELSEWHERE = (
    "/boot/vmlinux-{}",
    "/lib/modules/{}/vmlinux-{}",
    "/lib/modules/{}/build/vmlinux",
    "/usr/lib/modules/{}/kernel/vmlinux",
    "/usr/lib/debug/boot/vmlinux-{}",
    "/usr/lib/debug/boot/vmlinux-{}.debug",
    "/usr/lib/debug/lib/modules/{}/vmlinux",
)


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


def target_from_file(path: Path) -> TargetKernel:
    """Return a kernel of which only the BTF is known; it is taken to have every feature. No bpf(2) call.

    Raises FileError, ObjectError, BtfError.
    """
    return TargetKernel(
        release=path.name,
        version_code=0,
        btfs=(Btf.parse(read_btf_file(path), name=path.name),),
        features=frozenset(Feature),
        custom_btf=True,
        nr_cpus=len(possible_cpus()),
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )


@functools.cache
def vmlinux_btf() -> Btf:
    """Return the running kernel's BTF, read once for the life of the process. Raises FeatureMissingError, BtfError."""
    if VMLINUX.exists():
        return Btf.parse(_vmlinux_bytes(), name="vmlinux", trusted=True)
    release = os.uname().release
    for place in _ELSEWHERE:
        path = Path(place.format(release, release))
        if path.exists():
            return Btf.parse(read_btf_file(path), name="vmlinux", trusted=True)
    raise FeatureMissingError(
        f"the kernel shows no BTF: '{VMLINUX}' is missing (CONFIG_DEBUG_INFO_BTF), and so is a vmlinux file",
        feature="vmlinux BTF",
        since="5.4",
    )


def _vmlinux_bytes() -> bytes | memoryview:
    try:
        return map_file(str(VMLINUX))
    except OSError:  # before Linux 6.16 the file cannot be mapped
        pass
    try:
        return VMLINUX.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read '{VMLINUX}': {os.strerror(error.errno or 0).lower()}") from None


def _features(needs: frozenset[Need]) -> tuple[Feature, ...]:
    return (*PREPARE_FEATURES, *TRACING_FEATURES) if Need.TRACING_FEATURES in needs else PREPARE_FEATURES


def _btfs(bpf: Bpf, needs: frozenset[Need]) -> tuple[Btf, ...]:
    if Need.MODULE_BTF in needs:
        return (vmlinux_btf(), *_modules(bpf, vmlinux_btf()))
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

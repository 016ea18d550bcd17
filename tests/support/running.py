"""The running kernel as a target, read without the code under test."""

import gzip
import os
import re
from functools import cache
from pathlib import Path

from xdploaderd.btf.codec import Btf
from xdploaderd.obj.spec import TargetKernel
from xdploaderd.uapi.bpf import Feature


@cache
def running_target() -> TargetKernel:
    """Return this kernel with every feature, which a kernel of 6.18 has."""
    release = os.uname().release
    debian = re.search(r"Debian (\S+)-", os.uname().version)  # its releases have numbers of their own
    text = debian[1] if debian else release.split("-")[0]
    major, minor, patch = (int(part) for part in text.split("."))
    return TargetKernel(
        release=release,
        version_code=major << 16 | minor << 8 | min(patch, 255),
        btfs=(Btf.parse(Path("/sys/kernel/btf/vmlinux").read_bytes(), name="vmlinux", trusted=True),),
        features=frozenset(Feature),
        kconfig=_kconfig(release),
        kallsyms=Path("/proc/kallsyms").read_text(),
        nr_cpus=os.cpu_count() or 1,
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )


def _kconfig(release: str) -> str:
    plain = next(filter(Path.exists, (Path(f"/boot/config-{release}"), Path(f"/lib/modules/{release}/config"))), None)
    return plain.read_text() if plain else gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()

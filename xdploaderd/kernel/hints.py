"""Why the kernel may say EPERM: missing capabilities, lockdown, RLIMIT_MEMLOCK (capabilities(7))."""

import os
import re
import resource
from pathlib import Path

# include/uapi/linux/capability.h
_CAPABILITIES = {"CAP_BPF": 39, "CAP_NET_ADMIN": 12, "CAP_PERFMON": 38}
_CAP_SYS_ADMIN = 21  # stands for CAP_BPF and CAP_PERFMON too
_MEMCG_SINCE = (5, 11)
_STATUS = Path("/proc/self/status")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def missing_capabilities(status: str) -> tuple[str, ...]:
    """Return which capabilities for loading are absent from the effective set in the text of /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            break
    else:
        return ()
    admin = effective >> _CAP_SYS_ADMIN & 1
    return tuple(
        name
        for name, bit in _CAPABILITIES.items()
        if not effective >> bit & 1 and not (admin and name != "CAP_NET_ADMIN")
    )


def counts_memlock(release: str) -> bool:
    """Tell whether a kernel of that release (uname -r) counts BPF memory against RLIMIT_MEMLOCK: before Linux 5.11."""
    numbers = [int(word) for word in re.findall(r"\d+", release)[:2]]
    return len(numbers) == len(_MEMCG_SINCE) and tuple(numbers) < _MEMCG_SINCE


def permission_hint() -> str:
    """Return what may be behind an EPERM of bpf(2), as a clause to append to a message; empty when nothing is found."""
    reasons = []
    if missing := missing_capabilities(_read(_STATUS)):
        reasons.append(f"this process lacks {', '.join(missing)}")
    if "[confidentiality]" in _read(_LOCKDOWN):
        reasons.append("kernel lockdown is at level confidentiality")
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit != resource.RLIM_INFINITY and not reasons and counts_memlock(os.uname().release):
        reasons.append(f"kernels before 5.11 count maps against RLIMIT_MEMLOCK, which is {limit // 1024} KiB")
    return "; ".join(reasons)

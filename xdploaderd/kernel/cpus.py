"""Which CPUs per-CPU maps have a value for (libbpf_num_possible_cpus)."""

import re
from pathlib import Path

from xdploaderd.errors import KernelError

_POSSIBLE = Path("/sys/devices/system/cpu/possible")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def possible_cpus() -> tuple[int, ...]:
    """Return the possible CPUs in order: the kernel lays a per-CPU value out as one slot for each of them."""
    try:
        text = _POSSIBLE.read_text()
    except OSError as error:
        raise KernelError(f"cannot read '{_POSSIBLE}'", operation="read", errno=error.errno or 0) from None
    return parse_cpu_list(text)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Return the CPUs of a list such as `0-3,8`."""
    ranges = [(int(match[1]), int(match[2] or match[1])) for match in _RANGE.finditer(text)]
    return tuple(cpu for first, last in ranges for cpu in range(first, last + 1))

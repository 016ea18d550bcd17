#!/usr/bin/python3
"""The guest's first process: mounts, kernel modules, then one command, whose exit status goes to the serial line.

The command is the text of /command, one argument a line.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_FINIT_MODULE = 313  # x86-64
_POWER_OFF = 0x4321FEDC
_MOUNTS = {
    "/proc": ("proc", ""),
    "/sys": ("sysfs", ""),
    "/dev": ("devtmpfs", ""),
    "/sys/fs/bpf": ("bpf", "mode=0700"),
    "/sys/kernel/tracing": ("tracefs", ""),
    "/tmp": ("tmpfs", "mode=1777"),
    "/run": ("tmpfs", "mode=0755"),
}
ENVIRON = {
    "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
    "PYTHONPATH": "/checkout:/site",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "XDPLOADERD_TEST_PATIENCE": "240",
    "XDPLOADERD_TEST_FORKED": "1",
    "XDPLOADERD_TEST_MAY_LACK_FEATURES": "1",
}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        print(f"guest: {what}: {os.strerror(ctypes.get_errno())}")


def _prepare() -> None:
    for where, (kind, options) in _MOUNTS.items():
        Path(where).mkdir(parents=True, exist_ok=True)
        _check(_libc.mount(kind.encode(), where.encode(), kind.encode(), 0, options.encode()), f"mount {where}")
    modules = Path("/modules")
    for path in sorted(modules.iterdir()) if modules.is_dir() else ():
        fd = os.open(path, os.O_RDONLY)
        _check(_libc.syscall(_FINIT_MODULE, fd, b"", 0), f"module {path.name}")
        os.close(fd)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, env=ENVIRON)


def _run() -> int:
    print(f"guest: Linux {os.uname().release}", flush=True)
    _prepare()
    command = Path("/command").read_text().splitlines()
    return subprocess.run(command, check=False, cwd="/checkout", env=ENVIRON).returncode


def main() -> None:
    """Run the command; whatever happens, power off."""
    status = 1
    try:
        status = _run()
    finally:
        print(f"\nGUEST-EXIT={status & 0xFF}", flush=True)
        os.sync()
        _libc.reboot(_POWER_OFF)


if __name__ == "__main__":
    if os.getpid() != 1:
        sys.exit("guest.py is the first process of a guest")
    main()

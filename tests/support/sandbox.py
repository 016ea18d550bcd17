"""Namespaces of the test process's own, and the count of BPF objects that proves nothing was left behind."""

import ctypes
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.namespaces import enter_namespaces, mount

BPF_NR = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
NEXT_ID_COMMANDS = {"prog": 11, "map": 12, "btf": 23, "link": 31}
BPFFS = Path("/sys/fs/bpf")
SETTLE_SECONDS = 5.0  # the kernel frees programs and maps after a grace period

_libc = ctypes.CDLL(None, use_errno=True)
_entered = False


def enter_sandbox() -> None:
    """Move this process, once, into its own mount and network namespaces with a fresh bpffs on /sys/fs/bpf."""
    global _entered  # noqa: PLW0603 - namespaces belong to the process, so does the fact
    if _entered:
        return
    enter_namespaces()
    mount("bpf", str(BPFFS), "mode=0700")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _entered = True


def object_ids() -> dict[str, frozenset[int]]:
    """Return the ids of every program, map, BTF and link of this kernel (machine wide, hence the lock below)."""
    found: dict[str, frozenset[int]] = {}
    for kind, command in NEXT_ID_COMMANDS.items():
        ids: set[int] = set()
        attr = (ctypes.c_uint32 * 4)()
        while _libc.syscall(BPF_NR, command, ctypes.byref(attr), ctypes.sizeof(attr)) == 0:
            ids.add(attr[1])
            attr[0] = attr[1]
        found[kind] = frozenset(ids)
    return found


def pin_tree() -> frozenset[str]:
    """Return every path below the sandbox's bpffs."""
    return frozenset(str(Path(top) / name) for top, dirs, files in os.walk(BPFFS) for name in [*dirs, *files])


def clear_pins() -> None:
    """Remove everything below the sandbox's bpffs but the kernel's own *.debug files."""
    for path in map(Path, sorted(pin_tree(), reverse=True)):
        if path.is_symlink() or path.is_file():
            if path.suffix != ".debug":
                path.unlink()
        else:
            path.rmdir()


def wait_until_freed(before: dict[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    """Return the objects made since `before` that are still alive after the settling time; empty sets: no leak.

    What appears only from now on is another process's on this machine, since the test is over.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    left = object_ids()
    left = {kind: left[kind] - before[kind] for kind in left}
    while any(left.values()) and time.monotonic() < deadline:
        time.sleep(0.02)
        now = object_ids()
        left = {kind: left[kind] & now[kind] for kind in now}
    return left


@contextmanager
def kernel_lock() -> Iterator[None]:
    """Keep a second test run on this machine from making BPF objects while this one counts them."""
    path = Path(tempfile.gettempdir()) / "xdploaderd-kernel-tests.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

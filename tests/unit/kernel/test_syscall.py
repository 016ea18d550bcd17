import ctypes
import errno
import os
import subprocess
import sys

import pytest

from xdploaderd.kernel import syscall
from xdploaderd.kernel.attr import IdAttr
from xdploaderd.kernel.syscall import Fd, filesystem_magic
from xdploaderd.uapi.bpf import BpfCmd

PROC_SUPER_MAGIC = 0x9FA0


def _null() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def test_fd_closes_once() -> None:
    fd = Fd(_null())
    number = fd.fileno()
    fd.close()
    other = os.dup2(1, number)
    fd.close()
    os.fstat(other)
    os.close(other)


def test_detached_fd_stays_open_and_is_the_callers() -> None:
    number = Fd(_null()).detach()
    os.fstat(number)
    os.close(number)


def test_closed_fd_has_no_number() -> None:
    fd = Fd(_null())
    fd.close()
    with pytest.raises(ValueError, match="closed"):
        fd.fileno()


def test_forgotten_fd_warns_and_is_closed() -> None:
    fd = Fd(_null())
    number = fd.fileno()
    with pytest.warns(ResourceWarning, match="unclosed"):
        fd.__del__()
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        os.fstat(number)
    assert caught.value.errno == errno.EBADF


def test_fd_below_three_is_moved_up() -> None:
    saved = os.dup(0)
    try:
        os.close(0)
        with Fd(_null()) as fd:
            assert fd.fileno() > 2
            assert not os.get_inheritable(fd.fileno())
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_filesystem_magic_of_proc() -> None:
    assert filesystem_magic("/proc") == PROC_SUPER_MAGIC


class _Libc:
    """Fails with each errno in turn, then succeeds with 7."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def syscall(self, _nr: int, _cmd: int, _attr: object, _size: int) -> int:
        if not self.codes:
            return 7
        ctypes.set_errno(self.codes.pop(0))
        return -1


@pytest.mark.parametrize(
    ("cmd", "codes"),
    [
        (BpfCmd.MAP_CREATE, [errno.EINTR] * 9),
        (BpfCmd.PROG_LOAD, [errno.EAGAIN] * 4),
        (BpfCmd.PROG_LOAD, [errno.EINTR, errno.EAGAIN] * 4),
    ],
)
def test_interrupted_call_is_repeated(monkeypatch: pytest.MonkeyPatch, cmd: BpfCmd, codes: list[int]) -> None:
    monkeypatch.setattr(syscall, "_libc", _Libc(*codes))
    assert syscall.bpf_syscall(cmd, IdAttr()) == 7


@pytest.mark.parametrize(
    ("cmd", "codes"), [(BpfCmd.PROG_LOAD, [errno.EAGAIN] * 5), (BpfCmd.MAP_UPDATE_ELEM, [errno.EAGAIN])]
)
def test_call_that_stays_busy_is_given_up(monkeypatch: pytest.MonkeyPatch, cmd: BpfCmd, codes: list[int]) -> None:
    libc = _Libc(*codes)
    monkeypatch.setattr(syscall, "_libc", libc)
    with pytest.raises(BlockingIOError):
        syscall.bpf_syscall(cmd, IdAttr())
    assert not libc.codes


USES_LARGE_BLOCKS = """
import sys
from xdploaderd.kernel.syscall import give_back_memory

def kept():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])

if sys.argv[1:]:
    give_back_memory()
mapped = b"x" * (8 << 20)
del mapped  # freed once: from now on glibc takes such blocks from its heap
before, block = kept(), b"x" * (4 << 20)
behind = b"x" * (100 << 10)
del block
print(kept() - before)
"""


def test_large_blocks_go_back_to_the_kernel_when_they_are_freed() -> None:
    def grown(*words: str) -> int:
        command = [sys.executable, "-c", USES_LARGE_BLOCKS, *words]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert grown("given back") < 1024 < grown()

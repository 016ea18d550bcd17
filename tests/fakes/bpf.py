"""Stand-ins for the door to bpf(2): a small kernel in memory, and one that makes chosen calls of another door fail."""

import ctypes
import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xdploaderd.kernel.attr import BtfLoadAttr, ProgLoadAttr
from xdploaderd.kernel.syscall import BpfSyscall
from xdploaderd.uapi.bpf import BpfCmd

Answer = Callable[[Any], int]
_MAKES = {BpfCmd.MAP_CREATE: "bpf-map", BpfCmd.PROG_LOAD: "bpf-prog", BpfCmd.BTF_LOAD: "btf"}


@dataclass
class FakeBpf:
    """Makes memfds in place of maps, programs and BTFs, succeeds at everything else, and remembers the commands.

    `answers` override a command: called with its attr, they return a result or raise OSError.
    """

    answers: dict[BpfCmd, Answer] = field(default_factory=dict)
    calls: list[tuple[BpfCmd, ctypes.Structure]] = field(default_factory=list)

    def __call__(self, cmd: BpfCmd, attr: ctypes.Structure) -> int:
        """Run one command."""
        self.calls.append((cmd, _copy(attr)))
        if cmd in self.answers:
            return self.answers[cmd](attr)
        if cmd in _MAKES:
            return os.memfd_create(_MAKES[cmd])
        if cmd in (BpfCmd.MAP_LOOKUP_ELEM, BpfCmd.MAP_GET_NEXT_KEY):
            raise OSError(errno.ENOENT, "no such element")
        return 0

    def commands(self) -> list[BpfCmd]:
        """Return the commands so far."""
        return [cmd for cmd, _ in self.calls]

    def attrs(self, wanted: BpfCmd) -> list[Any]:
        """Return the attrs of every call of one command, as they were passed."""
        return [attr for cmd, attr in self.calls if cmd is wanted]


def _copy(attr: ctypes.Structure) -> ctypes.Structure:
    return type(attr).from_buffer_copy(attr)


def fail_with(code: int) -> Answer:
    """Return an answer that always raises this errno."""

    def answer(_attr: object) -> int:
        raise OSError(code, os.strerror(code))

    return answer


def refuse_with_log(code: int, log: bytes) -> Answer:
    """Return an answer of PROG_LOAD or BTF_LOAD that writes a log where one is asked for."""

    def answer(attr: ProgLoadAttr | BtfLoadAttr) -> int:
        prefix = "btf_" if isinstance(attr, BtfLoadAttr) else ""
        size = getattr(attr, f"{prefix}log_size")
        if size:
            setattr(attr, f"{prefix}log_true_size", len(log) + 1)
            if size <= len(log):
                raise OSError(errno.ENOSPC, "no space")
            ctypes.memmove(getattr(attr, f"{prefix}log_buf"), log + b"\0", len(log) + 1)
        raise OSError(code, os.strerror(code))

    return answer


@dataclass
class FailingDoor:
    """Passes calls on to another door, but the `nth` one (from 1) of `cmd` (None: of all) fails with `code`."""

    door: BpfSyscall
    nth: int
    code: int
    cmd: BpfCmd | None = None
    seen: Counter[BpfCmd] = field(default_factory=Counter)
    failed: bool = False

    def __call__(self, cmd: BpfCmd, attr: ctypes.Structure) -> int:
        """Run or refuse one command."""
        self.seen[cmd] += 1
        count = self.seen[cmd] if self.cmd is cmd else self.seen.total() if self.cmd is None else 0
        if count == self.nth:
            self.failed = True
            raise OSError(self.code, os.strerror(self.code))
        return self.door(cmd, attr)

"""The kernel's log of a refused program or BTF: asked for after a failure, cut into lines, summed up.

Follows bpf_object_load_prog of libbpf's libbpf.c: level 0 first, so that a load that succeeds pays for no log.
"""

import errno
from collections.abc import Callable, Sequence

from xdploaderd.kernel.attr import BtfLoadAttr, ProgLoadAttr, make_buffer, pointer_of
from xdploaderd.kernel.syscall import BpfSyscall, Fd
from xdploaderd.uapi.bpf import BpfCmd

FIRST_LOG_SIZE = 256 * 1024
MAX_LOG_SIZE = (1 << 24) - 1  # the largest that every kernel takes
_TELLING_LINES = 3
_LINE_MAX = 200  # characters of one line in a message
_ESCAPES = {c: f"\\x{c:02x}" for c in (*range(32), 127) if chr(c) not in "\t\n"}
_SOURCE_MARK = ";"
_STATISTICS = ("processed ", "verification time ", "stack depth ", "max_states_per_insn", "mark_read ")


class RefusedLoadError(Exception):
    """PROG_LOAD or BTF_LOAD failed: the first errno and the log's lines."""

    def __init__(self, code: int, log: tuple[str, ...]) -> None:
        super().__init__(code)
        self.errno = code
        self.log = log


def load_with_log(call: BpfSyscall, attr: ProgLoadAttr, told: Callable[[Sequence[str]], None]) -> Fd | None:
    """Run PROG_LOAD with a log and tell it; None when it is refused, for load_logged to find out why."""
    buffer = make_buffer(MAX_LOG_SIZE)
    attr.log_level, attr.log_size, attr.log_buf = 1, MAX_LOG_SIZE, pointer_of(buffer)
    try:
        fd = Fd(call(BpfCmd.PROG_LOAD, attr))
    except OSError:
        attr.log_level, attr.log_size, attr.log_buf = 0, 0, 0
        return None
    told(split_log(buffer.value))
    return fd


def load_logged(call: BpfSyscall, cmd: BpfCmd, attr: ProgLoadAttr | BtfLoadAttr) -> Fd:
    """Run PROG_LOAD or BTF_LOAD; a failure is repeated with a log. Raises RefusedLoadError with the first errno."""
    try:
        return Fd(call(cmd, attr))
    except OSError as error:
        code = error.errno or 0
    prefix = "btf_" if isinstance(attr, BtfLoadAttr) else ""
    size = FIRST_LOG_SIZE
    while True:
        buffer = make_buffer(size)
        setattr(attr, f"{prefix}log_level", 1)
        setattr(attr, f"{prefix}log_size", size)
        setattr(attr, f"{prefix}log_buf", pointer_of(buffer))
        try:
            return Fd(call(cmd, attr))
        except OSError as error:
            full = error.errno == errno.ENOSPC and size < MAX_LOG_SIZE
        if not full:
            raise RefusedLoadError(code, split_log(buffer.value))
        size = min(MAX_LOG_SIZE, max(4 * size, getattr(attr, f"{prefix}log_true_size")))


def split_log(raw: bytes) -> tuple[str, ...]:
    """Return the lines of a log; bytes that are not printable ASCII are escaped."""
    if not raw:
        return ()
    return tuple(raw.decode("ascii", "backslashreplace").removesuffix("\n").translate(_ESCAPES).split("\n"))


def summarise(log: Sequence[str]) -> str:
    """Return the last telling lines of a log, the source line they are about and how many lines the log has.

    Who shows more of the log counts what it leaves out by the same number: how many it shows is not known here.
    """
    telling = [line.strip() for line in log if line.strip() and not line.startswith((*_STATISTICS, _SOURCE_MARK))]
    shown = [line[:_LINE_MAX] for line in telling[-_TELLING_LINES:]]
    source = source_line(log)
    notes = [f"at {source}"] if source else []
    notes += [f"the end of {len(log)} lines of log"] if len(log) > len(shown) else []
    return "; ".join(shown) + (f" ({'; '.join(notes)})" if notes else "")


def source_line(log: Sequence[str]) -> str:
    """Return the last line of source that the log quotes, after its file and number where it tells them (Linux 6.9)."""
    quote = next((line for line in reversed(log) if line.startswith(_SOURCE_MARK)), "")
    text, at, place = quote.removeprefix(_SOURCE_MARK).strip().rpartition(" @ ")
    return (f"{place}: {text}" if at else place)[:_LINE_MAX]

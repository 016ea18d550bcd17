"""strace(1) on a running daemon: what it writes to the kernel."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import BPFFS

WRITERS = ("bpf", "sendto", "sendmsg", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat",
           "rmdir", "link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown",
           "lchown", "fchownat")  # fmt: skip
_READS = ("BPF_OBJ_GET", "_GET_", "BPF_PROG_QUERY", "BPF_MAP_LOOKUP")


@contextmanager
def traced(pid: int, words: Sequence[str], *, threads: bool = True) -> Iterator[None]:
    """Run strace with these words on a process or thread that runs, with all its threads, until the block's end."""
    command = ["strace", *(["-f"] if threads else []), "-p", str(pid), *words]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with tracer:
        assert tracer.stderr is not None
        assert "attached" in (line := tracer.stderr.readline()), line
        try:
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.stderr.read()


def all_writes(trace: Path) -> list[str]:
    """Return the words to write down every call that may change the kernel or a file."""
    calls = ",".join(f"?{call}" for call in WRITERS)
    return ["-y", "-s", "200", "-o", str(trace), "-e", f"trace={calls}"]


def kernel_writes(trace: Path) -> list[str]:
    """Return the calls in such a trace that change anything in the kernel, or below the BPF file system."""
    return [line for line in trace.read_text().splitlines() if _is_write(line)]


def _is_write(line: str) -> bool:
    if "bpf(BPF_" in line:
        return not any(word in line for word in _READS)
    if "send" in line.partition("(")[0]:
        return any(f"nlmsg_type=RTM_{verb}" in line for verb in ("NEW", "SET", "DEL"))
    return str(BPFFS) in line

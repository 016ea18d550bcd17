"""strace(1) on a process or thread that runs."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


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

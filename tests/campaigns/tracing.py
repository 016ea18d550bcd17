"""strace(1) on a process or thread that runs."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def traced(pid: int, words: Sequence[str]) -> Iterator[None]:
    """Run strace with these words on a thread that runs, or with -f on all of a process, until the block's end."""
    tracer = subprocess.Popen(["strace", "-p", str(pid), *words], stderr=subprocess.PIPE, text=True)
    with tracer:
        assert tracer.stderr is not None
        assert "attached" in (line := tracer.stderr.readline()), line
        try:
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.stderr.read()

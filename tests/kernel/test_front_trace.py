"""`tc exec bpf debug` and the real tc on the kernel's trace: the lines of a program that runs meanwhile."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import wait_for
from tests.support.loading import load_file
from tests.support.tools import tool
from tools.namespaces import mount
from xdploaderd.cli.main import main
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd

pytestmark = pytest.mark.kernel
TRACEFS = Path("/sys/kernel/tracing")
OURS = (sys.executable, "-m", "xdploaderd.cli.main", "tc", "exec", "bpf", "debug")
FRAME = bytes(77)


@pytest.fixture
def _tracefs(_no_kernel_leak: None) -> None:
    if not (TRACEFS / "trace_pipe").exists():
        mount("tracefs", str(TRACEFS))


@contextmanager
def telling(marker: int) -> Iterator[tuple[Bpf, Fd]]:
    """Load a program that writes a line with `marker` into the trace."""
    bpf = Bpf()
    with load_file("std_printk", bpf, globals_={"marker": str(marker)}) as loaded:
        yield bpf, loaded.programs["tell"]


def traced(command: Sequence[str]) -> str:
    """Return the line of a program that runs until a reader of the trace shows it, its number and times taken out.

    The trace is the machine's: every reader takes lines away from the others, so it may have to be written again.
    """
    marker = secrets.randbits(31)
    text = ""
    with (
        telling(marker) as (bpf, program),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reader,
    ):
        assert reader.stderr is not None
        pipe = reader.stderr.fileno()
        os.set_blocking(pipe, False)

        def seen() -> bool:
            nonlocal text
            bpf.prog_run(program, FRAME)
            try:
                text += os.read(pipe, 1 << 16).decode(errors="replace")
            except BlockingIOError:
                return False
            return f"marker {marker} of" in text.rpartition("\n")[0]

        try:
            wait_for(seen, f"'marker {marker}' in the trace")
        finally:
            reader.kill()
    line = next(line for line in text.splitlines() if f"marker {marker} of" in line)
    return re.sub(r"\d+\.\d+:", "TIME:", line.replace(str(marker), "N"))


@pytest.mark.usefixtures("_tracefs")
def test_trace_is_copied_as_by_the_real_tc() -> None:
    ours, theirs = traced(OURS), traced((str(tool("tc")), "exec", "bpf", "debug"))
    assert ours.endswith(f"bpf_trace_printk: marker N of {len(FRAME)} bytes")
    assert re.sub(r"\[\d+\]", "CPU", ours) == re.sub(r"\[\d+\]", "CPU", theirs)


def test_trace_that_cannot_be_found_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xdploaderd.front.tc_exec._TRACE_PIPES", (Path("/nosuch/trace_pipe"),))
    assert main(["tc", "exec", "bpf", "debug"]) == 255
    assert "no trace pipe: tracefs is not mounted" in capsys.readouterr().err

"""`prepare` as nobody makes no bpf(2) call, and is right about this kernel: what strace and loading say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import tools
from tests.support.sandbox import BPF_NR
from xdploaderd.cli.main import main

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
CHECKOUT = Path(__file__).parents[2]
OBJECTS = CHECKOUT / "tests/bpf"
NOBODY = 65534
VMLINUX = "/sys/kernel/btf/vmlinux"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Return a folder that nobody may read, with objects; pytest's own is root's alone."""
    folder = tmp_path / "objects"
    folder.mkdir()
    for name in ("demo_xdp", "std_externs", "std_calls"):
        (folder / f"{name}.bpf.o").write_bytes((OBJECTS / f"{name}.bpf.o").read_bytes())
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path.is_relative_to(tmp_path.parents[1]):
            path.chmod(0o755)
    return folder


def as_nobody(copies: Path, *argv: str) -> tuple[int, Any, str]:
    """Run the command as nobody below strace; return status, output, and what strace saw of bpf(2)."""
    trace = copies / "trace"
    trace.touch()
    trace.chmod(0o666)
    child = [sys.executable, "-B", "-c", "from xdploaderd.cli.main import main; raise SystemExit(main())"]
    done = subprocess.run(
        [str(tools.tool("strace")), "-f", "-e", "trace=bpf", "-o", str(trace), *child, "prepare", "--json", *argv],
        capture_output=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
        cwd=CHECKOUT,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), trace.read_text()


@pytest.mark.parametrize("btf", [(), ("--btf", VMLINUX)], ids=["this-kernel", "a-file"])
def test_nobody_prepares_without_a_bpf_call(copies: Path, btf: tuple[str, ...]) -> None:
    objects = sorted(str(path) for path in copies.glob("*.o"))
    status, reply, seen = as_nobody(copies, *objects, *btf)
    assert [line for line in seen.splitlines() if "bpf(" in line] == []
    assert "exited with" in seen
    assert status in (0, 3)
    assert [report["object"] for report in reply["reports"]] == objects


def test_strace_would_have_seen_a_bpf_call(copies: Path) -> None:
    trace = copies / "trace"
    code = f"import ctypes; ctypes.CDLL(None).syscall({BPF_NR}, 0, 0, 0)"
    subprocess.run(
        [str(tools.tool("strace")), "-f", "-e", "trace=bpf", "-o", str(trace), sys.executable, "-c", code], check=False
    )
    assert "bpf(" in trace.read_text()


@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.bpf.o")), ids=lambda path: path.name)
def test_what_holds_loads_and_what_fails_does_not(path: Path, capsys: Capture) -> None:
    status = main(["prepare", str(path)])
    capsys.readouterr()
    loads = main(["load", str(path), "/sys/fs/bpf/checked"])
    said = capsys.readouterr().err
    if loads == 0:
        main(["unload", "/sys/fs/bpf/checked"])
        capsys.readouterr()
        for left in sorted(Path("/sys/fs/bpf").rglob("*"), reverse=True):
            if left.suffix != ".debug":
                left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
    if status == 1:
        assert loads != 0
    elif status == 0 and loads != 0:
        assert "VerifierRejected" in said

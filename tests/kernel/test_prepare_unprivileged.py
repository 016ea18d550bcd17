"""`prepare` as nobody makes no bpf(2) call, and is right about this kernel: what strace and loading say."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def as_nobody(copies: Path, *argv: str) -> tuple[int, str, str]:
    """Run the command as nobody below strace; return status, output, and what strace saw of bpf(2)."""
    trace = copies / "trace"
    trace.touch()
    trace.chmod(0o666)
    child = [sys.executable, "-B", "-c", "from xdploaderd.cli.main import main; raise SystemExit(main())"]
    done = subprocess.run(
        [str(tools.tool("strace")), "-f", "-e", "trace=bpf", "-o", str(trace), *child, *argv],
        capture_output=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
        cwd=CHECKOUT,
    )
    assert not done.stderr
    return done.returncode, done.stdout.decode(), trace.read_text()


@pytest.mark.parametrize("btf", [(), ("--btf", VMLINUX)], ids=["this-kernel", "a-file"])
def test_nobody_prepares_without_a_bpf_call(copies: Path, btf: tuple[str, ...]) -> None:
    objects = sorted(str(path) for path in copies.glob("*.o"))
    status, reply, seen = as_nobody(copies, "prepare", "--json", *objects, *btf)
    assert_no_bpf_call(seen)
    assert status in (0, 3)
    assert [report["object"] for report in json.loads(reply)["reports"]] == objects


def assert_no_bpf_call(seen: str) -> None:
    assert [line for line in seen.splitlines() if "bpf(" in line] == []
    assert "exited with" in seen


def test_nobody_cuts_btf_down_without_a_bpf_call(copies: Path) -> None:
    demo, out = str(copies / "demo_xdp.bpf.o"), copies / "out"
    out.mkdir()
    out.chmod(0o777)
    status, _, seen = as_nobody(copies, "btfgen", "--btf", VMLINUX, "-o", str(out / "small.btf"), demo)
    assert_no_bpf_call(seen)
    assert (status, (out / "small.btf").stat().st_uid) == (0, NOBODY)
    status, reply, seen = as_nobody(copies, "core-diff", demo, "--btf", VMLINUX, "--btf", str(out / "small.btf"))
    assert_no_bpf_call(seen)
    assert (status, reply) == (0, "0 of 3 CO-RE records differ\n")


@pytest.mark.parametrize("verb", ["convert", "explain-pin"])
def test_nobody_looks_at_an_object_without_a_bpf_call(copies: Path, verb: str) -> None:
    status, _, seen = as_nobody(copies, verb, str(copies / "demo_xdp.bpf.o"))
    assert_no_bpf_call(seen)
    assert status == 0


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
        if "(BPF_PROG_LOAD: EPERM)" in said:
            tools.skip_if_bpftool_cannot_load(path)
        assert "VerifierRejected" in said

"""Where the tools and objects are that tests compare with. A missing one skips the test; in CI it fails it."""

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CACHE = Path(__file__).parents[2] / ".cache"


def _missing(what: str, remedy: str) -> None:
    text = f"{what} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def _legacy(name: str) -> Path:
    tool = Path(os.environ.get("XDPLOADERD_ORACLE", CACHE / "oracle")) / name
    if not os.access(tool, os.X_OK):
        _missing(f"the legacy '{name}'", "'./dev oracle' builds it")
    return tool


def legacy_ip() -> Path:
    """Return an `ip` that still loads `struct bpf_elf_map` objects (iproute2 without libbpf)."""
    return _legacy("ip")


def legacy_tc() -> Path:
    """Return a `tc` that still loads `struct bpf_elf_map` objects (iproute2 without libbpf)."""
    return _legacy("tc")


def corpus() -> Path:
    """Return the folder of objects that this project did not write."""
    objects = Path(os.environ.get("XDPLOADERD_CORPUS", CACHE / "corpus")) / "obj"
    if not objects.is_dir():
        _missing("the corpus", "'./dev corpus DIR' builds it")
    return objects


def kernel_btfs() -> list[Path]:
    """Return the BTF files of other kernels; none when they were not fetched (other_kernels says so in a test)."""
    return sorted(Path(os.environ.get("XDPLOADERD_KERNELS", CACHE / "kernels")).glob("*.btf"))


def other_kernels() -> list[Path]:
    """Return the BTF files of at least four other kernels."""
    found = kernel_btfs()
    if len(found) < 4:
        _missing("the BTF of four other kernels", "'./dev kernels' fetches it")
    return found


def tool(name: str) -> Path:
    """Return the program `name` of PATH; its Debian package is in `dev`'s lists."""
    found = shutil.which(name)
    if found is None:
        _missing(f"'{name}'", "'./dev setup' installs it")
    return Path(str(found))


def libbpf() -> ctypes.CDLL:
    """Return Debian's libbpf 1.x."""
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        _missing("libbpf.so.1", "'./dev setup' installs it")
        raise


def bpftool() -> Path:
    """Return Debian's bpftool: libbpf's own loading."""
    return tool("bpftool")


def bpftool_json(*words: str) -> Any:
    """Return what bpftool prints as JSON, None where it prints nothing."""
    printed = subprocess.run([bpftool(), "-j", *words], capture_output=True, check=True).stdout
    return json.loads(printed) if printed else None


def skip_if_bpftool_cannot_load(path: Path) -> None:
    """Skip where the running kernel refuses a good object to whoever asks, as some hosts do with tracing programs."""
    pin = Path("/sys/fs/bpf/bpftool")
    done = subprocess.run([bpftool(), "prog", "loadall", path, pin], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        assert "Operation not permitted" in done.stderr, done.stderr
        pytest.skip(f"bpftool cannot load '{path.name}' here either: {done.stderr.splitlines()[0]}")
    for program in pin.iterdir():
        program.unlink()
    pin.rmdir()

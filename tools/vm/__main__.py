#!/usr/bin/env python3
"""Try this checkout on other kernels than the running one: `./dev vm [KERNEL...]`.

A kernel is a series that Debian serves (5.10, 6.1) or `newest`. Each boots once in an emulator, with a first file
system of Python, this checkout and what the tests call. There all of tests/bpf is loaded, and tests/kernel runs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from tools.ending import end_with
from tools.vm import debian, qemu
from tools.vm.checks import MARK, Outcome, compare
from tools.vm.initramfs import Initramfs

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache/vm"
SERIES = ("5.10", "6.1", "6.12", debian.NEWEST)
PROGRAMS = (
    *("ip", "tc", "bpftool", "strace", "dbus-daemon", "busctl"),
    *("nsenter", "unshare", "setpriv", "mount", "umount", "env", "sh", "rm", "true"),
)
MODULES = (
    "veth",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "cls_matchall",
    "cls_u32",
    "dummy",
    "bridge",
    "bonding",
    "af_packet",
    "tun",
    "netlink_diag",  # strace knows by it which sockets speak netlink, and tells no message of others
)
LIBRARIES = ("libbpf.so.1", "libnss_files.so.2")
PYTEST = "-p tools.vm.tell -p no:cacheprovider -p no:hypothesispytest --tb=short -v -rs --durations=5 --color=no"
_NOT_WANTED = frozenset(
    {"test", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "dist-packages", "distutils"}
)
_TOOLS_ONLY = frozenset({"mypy", "mypyc", "ruff", "pip", "piptools", "setuptools", "pkg_resources", "build", "wheel"})
_SECONDS = 4 * 3600.0  # one guest: emulated code runs ten to twenty times slower, and on a busy machine slower still


def main() -> int:
    """Fetch, boot, compare and tell; exit status 1 when a kernel differs without a reason."""
    args = _arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    here = _outcome(
        subprocess.run(
            [sys.executable, "-m", "tools.vm.checks", "--sandbox"], check=False, stdout=subprocess.PIPE, text=True
        ).stdout
    )
    if here is None:
        print("vm: this machine's own kernel gave no outcome to compare with", file=sys.stderr)
        return 1
    apt = debian.Apt(CACHE / "apt")
    print("==> lists of Debian's kernels", flush=True)
    apt.update()
    kernels = apt.kernels()
    bad = [series for series in args.kernel or SERIES if not _try_kernel(apt, kernels, series, args.pytest, here)]
    print(f"==> {'all kernels are as wanted' if not bad else 'not as wanted: ' + ', '.join(bad)}")
    return 1 if bad else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev vm", description=__doc__)
    parser.add_argument("kernel", nargs="*", help=f"a series, such as 6.1, or a whole version (default: {SERIES})")
    parser.add_argument("--pytest", default="tests/kernel", help="arguments for pytest in the guest; empty: none")
    return parser.parse_args()


def _try_kernel(apt: debian.Apt, kernels: dict[str, list[str]], series: str, tests: str, here: Outcome) -> bool:
    version = debian.pick(kernels, series)
    if version is None:
        print(f"vm: Debian serves no kernel {series}", file=sys.stderr)
        return False
    folder = debian.fetch(apt, kernels, version, CACHE)
    image = CACHE / f"{version}.cpio"
    _build(folder, tests).write(image)
    try:
        return _boot(version, next(folder.rglob("vmlinuz*")), image, here)
    finally:
        image.unlink()


def _boot(version: str, kernel: Path, image: Path, here: Outcome) -> bool:
    print(f"==> booting Linux {version}", flush=True)
    began, lines = time.monotonic(), []

    def show(line: str) -> None:
        lines.append(line)
        log.write(line + "\n")
        log.flush()
        if not line.startswith(MARK) and " PASSED " not in line:
            print(f"{version} | {line}", flush=True)

    with (CACHE / f"{version}.log").open("w") as log:
        status = qemu.boot(kernel, image, seconds=_SECONDS, show=show)
    there = _outcome("\n".join(lines))
    lacks, differs = compare(here, there) if there else ([], ["no outcome of the checks"])
    for line in lacks:
        print(f"{version}: lacks a feature: {line}")
    for line in differs:
        print(f"{version}: differs: {line}")
    print(f"==> Linux {version}: exit status {status}, {time.monotonic() - began:.0f} s")
    return status == 0 and not differs


def _outcome(text: str) -> Outcome | None:
    line = next((line for line in text.splitlines() if line.startswith(MARK)), None)
    return json.loads(line.removeprefix(MARK)) if line else None


def _build(kernel: Path, tests: str) -> Initramfs:
    """Return the first file system for an unpacked kernel."""
    image = Initramfs()
    image.add_file(CHECKOUT / "tools/vm/guest.py", "/init")
    image.add("/init", (CHECKOUT / "tools/vm/guest.py").read_bytes(), mode=0o755)
    command = "python3 -m tools.vm.checks"
    if tests:
        command += f"; python3 -m pytest {PYTEST} {tests}"
    image.add("/command", f"sh\n-c\n{command}\n".encode())
    image.add("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    image.add("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    image.add_program(Path("/usr/bin/python3").resolve(), "/usr/bin/python3")
    image.add_tree(Path(sysconfig.get_path("stdlib")), sysconfig.get_path("stdlib"), without=_NOT_WANTED)
    image.add_tree(Path(sysconfig.get_path("purelib")), "/site", without=_TOOLS_ONLY)
    for name in PROGRAMS:
        if found := shutil.which(name):
            image.add_program(Path(found).resolve(), f"/usr/bin/{name}")
    image.add_file(Path("/bin/sh").resolve(), "/bin/sh")
    for name in LIBRARIES:
        for folder in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu"):
            if (library := Path(folder, name)).exists():
                image.add_program(library)
    for name in ("xdploaderd", "tests", "tools", "config", "systemd", "etc", "docs"):
        image.add_tree(CHECKOUT / name, f"/checkout/{name}")
    image.add_file(CHECKOUT / "pyproject.toml", "/checkout/pyproject.toml")
    image.add_modules(kernel, MODULES)
    for config in kernel.rglob("config-*"):
        image.add_file(config, f"/boot/{config.name}")
    for config in kernel.glob("usr/lib/modules/*/config"):
        image.add_file(config, f"/lib/modules/{config.parent.name}/config")
    return image


if __name__ == "__main__":
    end_with(main)

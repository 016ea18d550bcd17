"""Facts of the running kernel that lie in files: version, configuration, symbols, CPUs (libbpf_utils.c, libbpf.c).

Every reader takes the text or the path as an argument, so that other kernels' files can be tried.
"""

import functools
import gzip
import os
import re
from pathlib import Path

_BOOT = Path("/boot")
_MODULES = Path("/lib/modules")
_CONFIG_GZ = Path("/proc/config.gz")
_KALLSYMS = Path("/proc/kallsyms")
_POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")
_VERSION_SIGNATURE = Path("/proc/version_signature")
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_DEBIAN = re.compile(r"Debian (\d+)\.(\d+)\.(\d+)")
_KNOWN_ADDRESS = re.compile(r"^(?!0+ )[0-9a-f]+ ", re.MULTILINE)
_CONFIG_MAX = 16 << 20  # bytes unpacked; a distribution's configuration has 300 KB


def version_code(release: str, version: str, signature: str) -> int:
    """Return KERNEL_VERSION(a, b, c) of uname's release and version and of Ubuntu's version signature ("" elsewhere).

    Ubuntu and Debian give their releases numbers of their own; the kernel's stands in the signature's third word and
    behind the word Debian.
    """
    words = signature.split()
    found = (
        (_RELEASE.match(words[2]) if len(words) > 2 else None)  # noqa: PLR2004 - the third word
        or _DEBIAN.search(version)
        or _RELEASE.match(release)
    )
    if found is None:
        return 0
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major << 16 | min(minor, 255) << 8 | min(patch, 255)


@functools.cache
def running_version_code() -> int:
    """Return the running kernel's KERNEL_VERSION."""
    name = os.uname()
    return version_code(name.release, name.version, read_text(_VERSION_SIGNATURE))


def read_text(path: Path) -> str:
    """Return a file's text, empty when it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def read_boot_kconfig(release: str, *, boot: Path = _BOOT, modules: Path = _MODULES) -> str | None:
    """Return the text of the configuration that is installed for a release, None when there is none."""
    return read_text(boot / f"config-{release}") or read_text(modules / release / "config") or None


def read_kconfig(
    release: str, *, boot: Path = _BOOT, modules: Path = _MODULES, config_gz: Path = _CONFIG_GZ
) -> str | None:
    """Return the text of the kernel's configuration, None when there is no file of it."""
    if text := read_boot_kconfig(release, boot=boot, modules=modules):
        return text
    try:
        with gzip.open(config_gz) as file:
            return file.read(_CONFIG_MAX).decode("utf-8", "replace")
    except (OSError, EOFError):
        return None


def read_kallsyms(path: Path = _KALLSYMS) -> str | None:
    """Return the text of kallsyms; None when it cannot be read or shows zeros in place of addresses."""
    text = read_text(path)
    return text if _KNOWN_ADDRESS.search(text) else None


def parse_cpus(ranges: str) -> tuple[int, ...]:
    """Return the CPUs of a list such as `0-3,8`."""
    cpus: list[int] = []
    for part in ranges.strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


@functools.cache
def possible_cpus() -> tuple[int, ...]:
    """Return the CPUs this machine may ever have: a per-CPU value has a slot for each, in this order."""
    try:
        return parse_cpus(_POSSIBLE_CPUS.read_text())
    except (OSError, ValueError):
        return tuple(range(os.cpu_count() or 1))

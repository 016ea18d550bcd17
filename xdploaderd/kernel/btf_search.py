"""Where the BTF of a kernel may lie on this machine, by its release (libbpf btf__load_vmlinux_btf, BTFHub's layout).

The running kernel shows its own below /sys. Others, and kernels that do not, have it in an ELF file that the
distribution installs, in a folder of BTF files, or packed inside the kernel image itself.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdploaderd.errors import FeatureMissingError, FileError, NoBtfError
from xdploaderd.kernel.btf_file import read_btf_file
from xdploaderd.kernel.shown_btf import SYSFS_FOLDER

SYSFS = Path(SYSFS_FOLDER, "vmlinux")
FOLDERS_VARIABLE = "XDPLOADERD_BTF_PATH"  # folders joined by `:`, searched before the kernel images
DEFAULT_FOLDERS = "/var/lib/xdploaderd/btf:/usr/lib/xdploaderd/btf"
_VMLINUX = (
    "boot/vmlinux-{}",
    "lib/modules/{}/vmlinux-{}",
    "lib/modules/{}/vmlinux",
    "lib/modules/{}/build/vmlinux",
    "usr/lib/modules/{}/kernel/vmlinux",
    "usr/lib/debug/boot/vmlinux-{}",
    "usr/lib/debug/boot/vmlinux-{}.debug",
    "usr/lib/debug/lib/modules/{}/vmlinux",
)
_IMAGES = ("boot/vmlinuz-{}", "lib/modules/{}/vmlinuz", "usr/lib/modules/{}/vmlinuz")
_SUFFIXES = (".btf", ".btf.tar.xz")
_IN_FOLDER = re.compile(r"(.+)\.btf(?:\.tar\.xz)?|vmlinu[xz].*", re.DOTALL)
_FOLDER_DEPTH = 4  # BTFHub: distribution/release/architecture/file
_FOLDER_MAX = 10_000  # entries looked at; BTFHub has 5,000 kernels of one distribution
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}")
_ARCHITECTURES = {"aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class FoundBtf:
    """BTF bytes and the file they were found in."""

    path: Path
    raw: bytes


def find_btf(release: str, *, root: Path = Path("/"), folders: Sequence[Path] | None = None) -> FoundBtf:
    """Return the BTF of the kernel `release` out of the files of this machine, /sys not among them.

    Raises FeatureMissingError when there is none: it tells a kernel built without BTF from one of which no file is
    here. A file that is broken is an error at once, by name, since it is the kernel's own.
    """
    without: list[Path] = []
    for path in search_places(release, root=root, folders=btf_folders() if folders is None else folders):
        try:
            return FoundBtf(path, read_btf_file(path))
        except NoBtfError:
            without.append(path)
    raise no_btf(release, without)


def no_btf(release: str, without: Sequence[Path]) -> FeatureMissingError:
    """Return the error for a kernel whose BTF is not to be had; `without` are its files that hold none."""
    if without:
        text = f"kernel {release} was built without BTF (CONFIG_DEBUG_INFO_BTF): '{without[0]}' holds none"
    else:
        text = (
            f"no BTF of kernel {release} is to be found: '{SYSFS}' is missing or another kernel's,"
            f" and so are its vmlinux, its image in /boot and a file '{release}.btf' in {FOLDERS_VARIABLE}"
        )
    return FeatureMissingError(text, feature="vmlinux BTF", since="5.4")


def search_places(release: str, *, root: Path, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that are there, in the order in which they are tried."""
    if not _RELEASE.fullmatch(release):
        raise FeatureMissingError(f"'{release}' is no kernel release", feature="vmlinux BTF")
    for form in _VMLINUX:
        yield from _present(root / form.format(*[release] * form.count("{}")))
    for folder in folders:
        for suffix in _SUFFIXES:
            yield from _present(folder / f"{release}{suffix}")
            yield from sorted(folder.glob(f"*/*/{architecture()}/{release}{suffix}"))
        yield from _present(folder / f"vmlinux-{release}")
    for form in _IMAGES:
        yield from _present(root / form.format(release))


def _present(path: Path) -> Iterator[Path]:
    try:
        if path.is_file():
            yield path
    except OSError:  # a folder that we may not enter
        return


def btf_folders() -> tuple[Path, ...]:
    """Return the folders of BTF files that XDPLOADERD_BTF_PATH names, or the usual ones."""
    names = os.environ.get(FOLDERS_VARIABLE) or DEFAULT_FOLDERS
    return tuple(Path(name) for name in names.split(":") if name)


def architecture() -> str:
    """Return the machine's architecture as BTFHub names it."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def btf_files(folder: Path) -> tuple[Path, ...]:
    """Return the BTF files and kernels of a folder, BTFHub's layout included, in order. Raises FileError."""
    if not folder.is_dir():
        raise FileError(f"'{folder}' is no folder")
    found: list[Path] = []
    try:
        _collect(folder, _FOLDER_DEPTH, found, [0])
    except OSError as error:
        raise FileError(f"cannot read '{folder}': {os.strerror(error.errno or 0).lower()}") from None
    if not found:
        raise FileError(f"'{folder}' has no files named *.btf, *.btf.tar.xz, vmlinux* or vmlinuz*")
    return tuple(found)


def _collect(folder: Path, depth: int, found: list[Path], seen: list[int]) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        seen[0] += 1
        if seen[0] > _FOLDER_MAX:
            raise FileError(f"'{folder}' has too many files, at most {_FOLDER_MAX} are looked at")
        if entry.is_dir(follow_symlinks=False) and depth > 1:
            _collect(Path(entry.path), depth - 1, found, seen)
        elif entry.is_file() and _IN_FOLDER.fullmatch(entry.name):
            found.append(Path(entry.path))


def kernel_name(path: Path) -> str:
    """Return how a kernel is called by its file: the release in most layouts."""
    name = path.name
    for suffix in (".tar.xz", ".btf", ".xz", ".gz", ".zst"):
        name = name.removesuffix(suffix)
    return name.removeprefix("vmlinuz-").removeprefix("vmlinux-") or path.name

"""Kernels as the unprivileged know them: by files alone, this machine's own included. No bpf(2) call is made here."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from xdploaderd.btf.codec import Btf
from xdploaderd.errors import FileError, LoaderError, ObjectError
from xdploaderd.kernel.btf_file import kernel_types, read_btf_file
from xdploaderd.kernel.btf_search import SYSFS, find_btf, kernel_name
from xdploaderd.kernel.compression import compression_of, unpacked
from xdploaderd.kernel.facts import (
    possible_cpus,
    read_boot_kconfig,
    read_kallsyms,
    read_kconfig,
    running_version_code,
    version_code,
)
from xdploaderd.kernel.regular_file import open_regular, unreadable
from xdploaderd.kernel.vmlinux import vmlinux_btf
from xdploaderd.obj.spec import TargetKernel
from xdploaderd.verdict.abilities import Abilities, features_of, read_abilities
from xdploaderd.verdict.report import KernelUnderTest

_TEXT_MAX = 64 << 20  # bytes of a configuration or symbol list; kallsyms of a full kernel has 15 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFacts:
    """What the user tells of a kernel beside its BTF; modules as (name, file)."""

    release: str = ""
    kconfig: Path | None = None
    kallsyms: Path | None = None
    modules: Sequence[tuple[str, Path]] = ()


def kernel_of_file(path: Path, given: GivenFacts, *, name: str = "") -> KernelUnderTest:
    """Return a kernel of which a BTF file is known, and nothing else but what is given.

    Raises FileError, ObjectError, BtfError, FeatureMissingError.
    """
    name = name or kernel_name(path)
    btf = kernel_types(read_btf_file(path), name=name)
    target = TargetKernel(
        release=given.release or name,
        version_code=version_code(given.release, "", "") if given.release else 0,
        btfs=(btf, *_given_modules(given, btf)),
        features=frozenset(),
        custom_btf=True,
        kconfig=_text(given.kconfig) if given.kconfig else None,
        kallsyms=_text(given.kallsyms) if given.kallsyms else None,
        nr_cpus=len(possible_cpus()),
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )
    return _under_test(name, target)


def target_from_file(path: Path) -> TargetKernel:
    """Return a kernel of which only the BTF is known: its features are those its BTF tells, and all it does not deny.

    Raises FileError, ObjectError, BtfError, FeatureMissingError.
    """
    return kernel_of_file(path, GivenFacts()).target


def installed_kernel(given: GivenFacts) -> KernelUnderTest:
    """Return the running kernel, or another of this machine by its release, with the files that are its own.

    What only root may read is not known. Raises FeatureMissingError when there is no BTF, BtfError, FileError.
    """
    running = os.uname().release
    release = given.release or running
    here = release == running
    btf = vmlinux_btf() if here else kernel_types(find_btf(release).raw, name="vmlinux")
    own_modules = _own_modules(btf) if here and not given.modules else ()
    own_kconfig = read_kconfig(release) if here else read_boot_kconfig(release)
    target = TargetKernel(
        release=release,
        version_code=running_version_code() if here else version_code(release, "", ""),
        btfs=(btf, *_given_modules(given, btf), *own_modules),
        features=frozenset(),
        kconfig=_text(given.kconfig) if given.kconfig else own_kconfig,
        kallsyms=_text(given.kallsyms) if given.kallsyms else read_kallsyms() if here else None,
        nr_cpus=len(possible_cpus()),
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )
    return _under_test(release, target)


def _under_test(name: str, target: TargetKernel) -> KernelUnderTest:
    abilities = read_abilities(target.btfs[0]) if target.btfs else Abilities()
    features, doubtful = features_of(abilities)
    return KernelUnderTest(name=name, target=replace(target, features=features, doubtful=doubtful), abilities=abilities)


def _given_modules(given: GivenFacts, vmlinux: Btf) -> tuple[Btf, ...]:
    names = [name for name, _ in given.modules]
    if len(set(names)) != len(names):
        raise ObjectError("a module is given twice")
    return tuple(Btf.parse(read_btf_file(path), name=name, base=vmlinux) for name, path in given.modules)


def _own_modules(vmlinux: Btf) -> tuple[Btf, ...]:
    """Return the BTFs of the loaded modules, which everybody may read; a broken one is left out, as libbpf does."""
    found = []
    try:
        paths = sorted(path for path in SYSFS.parent.iterdir() if path.name != SYSFS.name)
    except OSError:
        return ()
    for path in paths:
        try:
            found.append(Btf.parse(read_btf_file(path), name=path.name, base=vmlinux))
        except LoaderError:
            continue
    return tuple(found)


def _text(path: Path) -> str:
    """Return the text of a file the user named, unpacked when it is gzipped as /proc/config.gz is."""
    try:
        with open_regular(path) as file:
            packed = bool(compression_of(file.read(16)))
            with unpacked(file, 0, str(path)) if packed else nullcontext(file) as plain:
                plain.seek(0)
                raw = plain.read(_TEXT_MAX + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(raw) > _TEXT_MAX:
        raise FileError(f"'{path}' is larger than {_TEXT_MAX} bytes")
    return raw.decode("utf-8", "replace")

"""Debian's kernels by series, fetched by package name through an apt configuration of our own.

The machine's own package sources serve, with the suites that hold older and newer kernels; nothing is installed.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

NEWEST = "newest"
# Suites by what the machine's own source offers: one of these names in it means that it offers the others too.
_RELEASES = ("bullseye", "bookworm", "trixie", "trixie-backports", "sid")
_SECURITY = ("bullseye-security", "bookworm-security", "trixie-security")
_PACKAGE = re.compile(r"linux-(?:image|binary)-(\d.*)-cloud-amd64")
_PARTS = (
    "linux-image",
    "linux-binary",
    "linux-modules",
    "linux-base",
)  # of one kernel: newer ones come in four packages
_FIELD = re.compile(r"^(?:Suites):(.*)$", re.MULTILINE)
_LINE = re.compile(r"^(deb\s+(?:\[[^]]*]\s+)?\S+\s+)(\S+)(\s.*)$", re.MULTILINE)


class Apt:
    """apt with lists and cache below `folder`, so that the machine's own stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / "parts"
        options = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._parts,
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",
        }
        self._options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def update(self) -> None:
        """Fetch the lists of packages; a suite that is no longer served is passed over."""
        for name in ("parts", "lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in _sources():
            (self._parts / name).write_text(text)
        subprocess.run(["apt-get", "-q", *self._options, "update"], check=False, capture_output=True)

    def kernels(self) -> dict[str, list[str]]:
        """Return the packages of every kernel, by its version."""
        names = set(self._run("apt-cache", "pkgnames", "linux-").split())
        versions = {match[1] for name in names if (match := _PACKAGE.fullmatch(name))}
        return {v: [n for part in _PARTS if (n := f"{part}-{v}-cloud-amd64") in names] for v in versions}

    def unpack(self, packages: Iterable[str], folder: Path) -> None:
        """Download packages and unpack them below `folder`."""
        folder.mkdir(parents=True)
        self._run("apt-get", "-q", "download", *packages, cwd=folder)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
            package.unlink()

    def _run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        argv = [command, *self._options, *arguments]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout


def fetch(apt: Apt, kernels: Mapping[str, list[str]], version: str, cache: Path) -> Path:
    """Return the folder below `cache` with a kernel's unpacked packages, fetched when it is not there yet."""
    folder = cache / version
    if not folder.exists():
        print(f"==> fetching Linux {version}", flush=True)
        part = cache / "part"
        shutil.rmtree(part, ignore_errors=True)
        apt.unpack(kernels[version], part)
        part.rename(folder)
    return folder


def pick(kernels: Iterable[str], series: str) -> str | None:
    """Return the newest version of a series such as 6.1, or of all; None when nothing of it is served."""
    fitting = [v for v in kernels if series in (NEWEST, v) or v.startswith(f"{series}.")]
    # A backport to an older release has the same kernel with another compiler: the native build is taken.
    return max((v for v in fitting if "deb11" not in v and "bpo" not in v), key=_order, default=None)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _sources() -> Iterator[tuple[str, str]]:
    """Yield name and text of each of the machine's source files, with other suites in place of its own."""
    apt = Path("/etc/apt")
    for number, path in enumerate(sorted(apt.glob("sources.list.d/*.sources"))):
        stanzas = re.split(r"\n\s*\n", path.read_text())
        kept = [s for stanza in stanzas if (s := _stanza_of_all(stanza))]
        yield f"{number}.sources", "\n\n".join(kept) + "\n"
    for number, path in enumerate([apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]):
        if path.exists():
            yield f"{number}.list", "".join(_lines_of_all(path.read_text()))


def _stanza_of_all(stanza: str) -> str:
    """Return a deb822 stanza with more suites, empty when it is not of Debian's archive."""
    found = _FIELD.search(stanza)
    suites = _others(found[1].split()) if found else ()
    # The archive's key of one release does not vouch for the next: apt's trusted keys do for all.
    text = "\n".join(line for line in stanza.split("\n") if not line.startswith("Signed-By:"))
    return _FIELD.sub(f"Suites: {' '.join(suites)}", text) if suites else ""


def _lines_of_all(text: str) -> Iterator[str]:
    for before, suite, after in _LINE.findall(text):
        for other in _others([suite]):
            yield f"{before}{other}{after}\n"


def _others(suites: list[str]) -> tuple[str, ...]:
    if any(suite in _SECURITY for suite in suites):
        return _SECURITY
    return _RELEASES if any(suite in _RELEASES for suite in suites) else ()

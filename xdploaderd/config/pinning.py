"""Where maps are pinned: the assembled pinning configuration and the path it gives each map.

Defaults are libbpf's for standard maps (the root itself) and iproute2's for legacy ones (tc, tc/globals).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from xdploaderd.config.pinning_text import NAME_MAX, Keyword, Statement, parse_statements
from xdploaderd.config.problems import Problem, config_error
from xdploaderd.errors import ConfigError, PinError
from xdploaderd.printable import quoted

DEFAULT_ROOT = PurePosixPath("/sys/fs/bpf")
DEFAULT_BY_NAME = PurePosixPath(".")
DEFAULT_OBJECT_NS = PurePosixPath("tc")
DEFAULT_GLOBAL_NS = PurePosixPath("tc/globals")
_LIBBPF_PIN_BY_NAME = 1
_NOT_IN_PINS = ("/", "\\")  # a backslash: what the reader of ELF files makes of control characters


@dataclass(frozen=True, slots=True, kw_only=True)
class PinningConf:
    """The whole pinning configuration; every directory but `root` is relative to it.

    The defaults of `object_ns` and `global_ns` mean what iproute2 does, written out or not: `xdp` in place of `tc` for
    XDP where ROOT/xdp is a real directory. `sources` are the files read, `warnings` what they should not say.
    """

    root: PurePosixPath = DEFAULT_ROOT
    by_name: PurePosixPath = DEFAULT_BY_NAME
    object_ns: PurePosixPath = DEFAULT_OBJECT_NS
    global_ns: PurePosixPath = DEFAULT_GLOBAL_NS
    subdirs: Mapping[int, PurePosixPath] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def map_path(
        self, map_name: str, pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        """Return the pin path of a map, or None for one that is not pinned.

        `pinning` is the number in the object, read by the dialect's meaning. `work_dir` is `tc` or `xdp`: which of
        iproute2's directories legacy values 1 and 2 go below when not configured; the caller looks whether ROOT/xdp
        is a real directory. Raises PinError for a map whose name cannot be a file name on a BPF file system.
        """
        directory = self._legacy_dir(pinning, object_sha1, work_dir) if legacy else self._standard_dir(pinning)
        if directory is None:
            return None
        _check_pin_name(map_name)
        return self.root / directory / map_name

    def _standard_dir(self, pinning: int) -> PurePosixPath | None:
        return self.by_name if pinning == _LIBBPF_PIN_BY_NAME else None

    def _legacy_dir(self, pinning: int, object_sha1: str, work_dir: str) -> PurePosixPath | None:
        match pinning:
            case 0:
                return None
            case 1:
                default = self.object_ns == DEFAULT_OBJECT_NS
                return (PurePosixPath(work_dir) if default else self.object_ns) / object_sha1
            case 2:
                return PurePosixPath(work_dir, "globals") if self.global_ns == DEFAULT_GLOBAL_NS else self.global_ns
            case _:
                return self.subdirs.get(pinning)


def parse_pinning_conf(raw: bytes, *, source: str) -> PinningConf:
    """Return the configuration of one text alone; includes need files (load.pinning_files) and are refused here."""
    statements = parse_statements(raw, source=source)
    includes = [s for s in statements if s.keyword in (Keyword.INCLUDE, Keyword.INCLUDE_BPF_PINNING)]
    if includes:
        raise config_error([Problem(s.place, "a single text cannot include a file") for s in includes])
    return assemble(statements, sources=(source,))


def assemble(
    statements: Iterable[Statement], *, sources: tuple[str, ...] = (), warnings: tuple[str, ...] = ()
) -> PinningConf:
    """Return what all statements together say (includes followed before); raise ConfigError for each said twice."""
    first: dict[str, Statement] = {}
    problems: list[Problem | ConfigError] = []
    for statement in statements:
        earlier = first.setdefault(statement.subject, statement)
        if earlier is not statement:
            problems.append(Problem(statement.place, f"{quoted(statement.subject)} is already set at {earlier.place}"))
    if problems:
        raise config_error(problems)
    paths = {s.keyword: s.path for s in first.values() if s.keyword is not Keyword.NUMBER}
    return PinningConf(
        root=paths.get(Keyword.ROOT, DEFAULT_ROOT),
        by_name=paths.get(Keyword.BY_NAME, DEFAULT_BY_NAME),
        object_ns=paths.get(Keyword.OBJECT_NS, DEFAULT_OBJECT_NS),
        global_ns=paths.get(Keyword.GLOBAL_NS, DEFAULT_GLOBAL_NS),
        subdirs={s.number: s.path for s in first.values() if s.keyword is Keyword.NUMBER},
        sources=sources,
        warnings=warnings,
    )


def _check_pin_name(name: str) -> None:
    """Raise PinError for a name that is not one file name which bpffs takes: names come from hostile objects too."""
    if not name:
        raise PinError("a map without a name cannot be pinned")
    if any(mark in name for mark in _NOT_IN_PINS) or not name.isprintable():
        raise PinError(f"the pin cannot be named {quoted(name)}, which contains '/', '\\' or control characters")
    if "." in name:
        raise PinError(f"the pin cannot be named {quoted(name)}, a BPF file system refuses names with dots")
    if len(name.encode()) > NAME_MAX:
        raise PinError(f"the pin cannot be named {quoted(name)}, file names have at most {NAME_MAX} bytes")

"""The files of the pinning configuration: pinning.conf, its drop-ins, includes, and iproute2's file in their place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xdploaderd.config.bpf_pinning import parse_iproute2_pinning
from xdploaderd.config.pinning import PinningConf, assemble
from xdploaderd.config.pinning_text import Keyword, Statement, parse_statements
from xdploaderd.config.problems import Problem, config_error
from xdploaderd.errors import ConfigError, FileError, error_context
from xdploaderd.load.checked_files import is_masked, is_present, read_config_file
from xdploaderd.printable import quoted

PINNING_CONF = Path("/etc/libbpf/pinning.conf")
BPF_PINNING = Path("/etc/iproute2/bpf_pinning")
MAX_INCLUDE_DEPTH = 8


@dataclass(slots=True)
class _Files:
    """What has been read so far; a file is read once, so that hostile includes stay bounded."""

    sources: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_pinning(path: Path = PINNING_CONF, *, fallback: Path = BPF_PINNING) -> PinningConf:
    """Return the pinning configuration of `path` and its drop-ins, `path`.d/*.conf.

    Without the system's pinning.conf and without a drop-in, `fallback` is read as iproute2 reads it, and without that
    the defaults hold. A `path` of the user's own must exist. Raises ConfigError with all errors of the first stage
    that has any, FileError for a file that cannot be read.
    """
    drop_ins = [p for p in sorted(path.with_name(f"{path.name}.d").glob("*.conf")) if not is_masked(p)]
    if not is_present(path) and not drop_ins:
        if path != PINNING_CONF:
            raise FileError(f"cannot read {quoted(str(path))}: no such file")
        return _read_fallback(fallback)
    files = _Files()
    statements: list[Statement] = []
    problems: list[Problem | ConfigError] = []
    for file in [*([path] if is_present(path) else []), *drop_ins]:
        try:
            statements.extend(_read(file, files, ()))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise config_error(problems)
    return assemble(statements, sources=tuple(map(str, files.sources)), warnings=tuple(files.warnings))


def _read_fallback(path: Path) -> PinningConf:
    if not is_present(path):
        return PinningConf()
    numbers = parse_iproute2_pinning(read_config_file(path), source=str(path))
    return assemble(numbers.statements, sources=(str(path),), warnings=numbers.warnings)


def _read(path: Path, files: _Files, chain: tuple[Path, ...]) -> Iterator[Statement]:
    """Yield the statements of a file with those of its includes in place; `chain` are the files that include it."""
    files.sources.append(path)
    for statement in parse_statements(read_config_file(path), source=str(path)):
        if statement.keyword in (Keyword.INCLUDE, Keyword.INCLUDE_BPF_PINNING):
            with error_context(str(statement.place)):
                yield from _follow(statement, path, files, chain)
        else:
            yield statement


def _follow(include: Statement, path: Path, files: _Files, chain: tuple[Path, ...]) -> Iterator[Statement]:
    target = path.parent / include.path
    _check_include(target, path, files, chain)
    if include.keyword is Keyword.INCLUDE:
        yield from _read(target, files, (*chain, path))
        return
    files.sources.append(target)
    numbers = parse_iproute2_pinning(read_config_file(target), source=str(target))
    files.warnings.extend(numbers.warnings)
    yield from numbers.statements


def _check_include(target: Path, path: Path, files: _Files, chain: tuple[Path, ...]) -> None:
    try:
        if any(target.samefile(other) for other in (*chain, path)):
            raise ConfigError(f"{quoted(str(target))} includes itself")
        if any(target.samefile(other) for other in files.sources):
            raise ConfigError(f"{quoted(str(target))} is read already")
    except OSError as error:
        raise ConfigError(f"cannot include {quoted(str(target))}: {(error.strerror or str(error)).lower()}") from None
    if len(chain) >= MAX_INCLUDE_DEPTH:
        raise ConfigError(f"{quoted(str(target))} is included {len(chain) + 1} deep, at most {MAX_INCLUDE_DEPTH}")

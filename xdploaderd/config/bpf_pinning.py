"""iproute2's /etc/iproute2/bpf_pinning, read as iproute2 reads it (lib/bpf_legacy.c, bpf_read_pin_mapping).

Three things are refused that iproute2 lets pass: a line it calls corrupt (it then loads maps unpinned), `..`, and more
lines than a hand writes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from xdploaderd.config.pinning_text import MIN_NUMBER, Keyword, Statement, check_lines, parse_statements
from xdploaderd.config.problems import PROBLEM_LIMIT, Place, Problem, config_error
from xdploaderd.errors import ConfigError
from xdploaderd.printable import quoted

FGETS_SIZE = 4095  # bytes: PATH_MAX less the NUL; a longer line is read as several

# sscanf(line, "%i %s"), which never goes back: hence the atomic group. The white space is the C locale's; it may also
# be missing, `3tracing` is 3 and `tracing`.
_FIELDS = re.compile(
    rb"[ \t\n\v\f\r]*(?P<sign>[+-]?)(?>0[xX](?P<hex>[0-9a-fA-F]*)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))"
    rb"[ \t\n\v\f\r]*(?P<word>[^ \t\n\v\f\r]+)"
)
_LONG_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PinningNumbers:
    """The directories of pinning values in iproute2's file, each with its statement; the last of equals counts."""

    statements: tuple[Statement, ...]
    warnings: tuple[str, ...] = ()


def parse_iproute2_pinning(raw: bytes, *, source: str) -> PinningNumbers:
    """Return what the file says, in the order of its lines; raise ConfigError for corrupt lines and `..`."""
    found: dict[int, Statement] = {}
    warnings: list[str] = []
    problems: list[Problem | ConfigError] = []
    check_lines(raw.count(b"\n") + 1, source)
    for place, line in _lines(raw, source):
        if len(problems) >= PROBLEM_LIMIT:
            break
        match = _FIELDS.match(line)
        if match is None:
            problems.append(Problem(place, "corrupt line, want a number and a sub-directory"))
            continue
        number, path = _number(match), _path(match)
        if number < MIN_NUMBER:
            warnings.append(f"{place}: pinning value {number} is reserved, the line is ignored")
        elif ".." in path.parts:
            problems.append(Problem(place, f"sub-directory {quoted(_word(match))} contains '..'"))
        else:
            found[number] = Statement(place=place, keyword=Keyword.NUMBER, path=path, number=number)
    if problems:
        raise config_error(problems)
    return PinningNumbers(tuple(found.values()), tuple(warnings))


def to_pinning_conf(raw: bytes, *, source: str) -> str:
    """Return the text of a strict pinning.conf with the same meaning; what the strict form refuses is a comment."""
    numbers = parse_iproute2_pinning(raw, source=source)
    lines = [f"# Converted from {quoted(source)}.", *(f"# {warning}" for warning in numbers.warnings)]
    for statement in sorted(numbers.statements, key=lambda s: s.number):
        line = f"{statement.number} {statement.path}"
        try:
            parse_statements(line.encode(errors="surrogateescape"), source=str(statement.place))
        except ConfigError:
            line = f"# not taken over: {statement.number} {quoted(str(statement.path))} cannot be a BPF directory"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _lines(raw: bytes, source: str) -> Iterator[tuple[Place, bytes]]:
    """Yield each line that is not blank or a comment, cut as fgets(3) cuts it and ended by a NUL as C ends it."""
    for number, whole in enumerate(raw.split(b"\n"), 1):
        for start in range(0, len(whole) or 1, FGETS_SIZE):
            piece = whole[start : start + FGETS_SIZE].split(b"\0")[0]
            stripped = piece.lstrip(b" \t")
            if stripped and not stripped.startswith(b"#"):
                yield Place(source, number, start + len(piece) - len(stripped) + 1), stripped


def _number(match: re.Match[bytes]) -> int:
    """Return what %i stores: strtol(3) of the digits, saturated at a long, then its low 32 bits."""
    digits, base = _digits(match)
    # 22 octal digits hold every long, so that longer words need no long arithmetic
    significant = digits.lstrip(b"0") or b"0"
    value = int(significant, base) if len(significant) <= 22 else _LONG_MAX + 1  # noqa: PLR2004 - see above
    if match["sign"] == b"-":
        return -min(value, _LONG_MAX + 1) & 0xFFFFFFFF
    return min(value, _LONG_MAX) & 0xFFFFFFFF


def _digits(match: re.Match[bytes]) -> tuple[bytes, int]:
    if match["hex"] is not None:
        return match["hex"] or b"0", 16
    return (match["octal"], 8) if match["octal"] else (match["decimal"], 10)


def _word(match: re.Match[bytes]) -> str:
    return match["word"].decode("utf-8", "surrogateescape")


def _path(match: re.Match[bytes]) -> PurePosixPath:
    return PurePosixPath(_word(match).lstrip("/"))

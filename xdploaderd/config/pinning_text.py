"""The grammar of pinning.conf: one text to statements, strictly, every error with file, line, column and reason.

A line is blank, a comment, or one statement, then nothing but a comment that starts with a `#` after white space:

    root PATH                  the bpffs directory everything hangs under
    by-name SUBDIR             `.maps` maps with LIBBPF_PIN_BY_NAME; `.` is the root itself
    object-ns SUBDIR           pinning value 1 of legacy maps; below it a directory named by the object's SHA-1
    global-ns SUBDIR           pinning value 2 of legacy maps
    NUMBER SUBDIR              another pinning value of legacy maps, 3..4294967295
    include PATH               statements of another file, relative to this one
    include bpf_pinning PATH   numbers of a file in iproute2's syntax
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from xdploaderd.config.problems import PROBLEM_LIMIT, Place, Problem, config_error, decode_text
from xdploaderd.printable import quoted

MIN_NUMBER = 3  # 0 is not pinned, 1 and 2 are object-ns and global-ns
MAX_NUMBER = 0xFFFFFFFF  # bpf_elf_map.pinning is a __u32
MAX_NUMBER_WORD = 32  # characters
NAME_MAX = 255  # bytes of one component
PATH_MAX = 4096  # bytes with the final NUL
MAX_LINES = 10_000
MAX_WORDS = 4  # of a line: `include bpf_pinning PATH` and one that is too many

_WORD = re.compile(r"[^ \t]+")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z")


class Keyword(StrEnum):
    """What a statement settles; NUMBER stands for the number written."""

    ROOT = "root"
    BY_NAME = "by-name"
    OBJECT_NS = "object-ns"
    GLOBAL_NS = "global-ns"
    NUMBER = "NUMBER"
    INCLUDE = "include"
    INCLUDE_BPF_PINNING = "include bpf_pinning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One line that says something; `path` is absolute for ROOT, either for an include, relative for the rest."""

    place: Place
    keyword: Keyword
    path: PurePosixPath
    number: int = 0

    @property
    def subject(self) -> str:
        """What may be stated only once."""
        return str(self.number) if self.keyword is Keyword.NUMBER else self.keyword.value


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    place: Place


class _Refused(Exception):
    """One line cannot be taken; becomes a Problem, so that the lines after it are read too."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(place, message)


def parse_statements(raw: bytes, *, source: str) -> tuple[Statement, ...]:
    """Return the statements of one file in order; raise ConfigError that tells every line which is refused."""
    statements: list[Statement] = []
    problems: list[Problem] = []
    lines = decode_text(raw, source=source).split("\n")
    check_lines(len(lines), source)
    for number, line in enumerate(lines, 1):
        if len(problems) >= PROBLEM_LIMIT:
            break
        try:
            if words := _split(line, source, number):
                statements.append(_parse_line(words))
        except _Refused as refused:
            problems.append(refused.problem)
    if problems:
        raise config_error(problems)
    return tuple(statements)


def check_lines(count: int, source: str) -> None:
    """Raise ConfigError for a text of more lines than are read."""
    if count > MAX_LINES:
        raise config_error(
            [Problem(Place(source, MAX_LINES + 1, 1), f"one of {count} lines, want at most {MAX_LINES}")]
        )


def _split(line: str, source: str, number: int) -> list[_Word]:
    """Return the words of a line up to its comment."""
    for column, char in () if line.isprintable() else enumerate(line, 1):
        if char != "\t" and not (char == " " or char.isprintable()):
            name = "NUL" if char == "\0" else f"control character U+{ord(char):04X}"
            raise _Refused(Place(source, number, column), f"{name} is not allowed")
    words: list[_Word] = []
    for match in _WORD.finditer(line):
        if match[0].startswith("#") or len(words) == MAX_WORDS:
            break
        words.append(_Word(match[0], Place(source, number, match.start() + 1)))
    return words


def _parse_line(words: list[_Word]) -> Statement:
    first, rest = words[0], words[1:]
    match first.text:
        case "root":
            return Statement(place=first.place, keyword=Keyword.ROOT, path=_root(_single(first, rest, "PATH")))
        case "by-name" | "object-ns" | "global-ns":
            subdir = _subdir(_single(first, rest, "SUBDIR"))
            return Statement(place=first.place, keyword=Keyword(first.text), path=subdir)
        case "include":
            return _parse_include(first, rest)
        case _:
            number = _number(first)
            subdir = _subdir(_single(first, rest, "SUBDIR"))
            return Statement(place=first.place, keyword=Keyword.NUMBER, path=subdir, number=number)


def _parse_include(first: _Word, rest: list[_Word]) -> Statement:
    keyword = Keyword.INCLUDE
    if rest and rest[0].text == "bpf_pinning":
        keyword, first, rest = Keyword.INCLUDE_BPF_PINNING, rest[0], rest[1:]
    word = _single(first, rest, "PATH")
    path = PurePosixPath(word.text)
    if ".." in path.parts:
        raise _Refused(word.place, f"path {quoted(word.text)} contains '..'")
    return Statement(place=word.place, keyword=keyword, path=path)


def _single(first: _Word, rest: list[_Word], what: str) -> _Word:
    """Return the one word that must follow `first`."""
    if not rest:
        end = Place(first.place.source, first.place.line, first.place.column + len(first.text))
        raise _Refused(end, f"{quoted(first.text)} wants a {what} after it")
    if len(rest) > 1:
        raise _Refused(rest[1].place, f"{quoted(rest[1].text)} is one word too many (a comment starts with '#')")
    return rest[0]


def _number(word: _Word) -> int:
    if not word.text[:1].isdigit():
        raise _Refused(word.place, _unknown_word(word.text))
    if len(word.text) > MAX_NUMBER_WORD or not _NUMBER.match(word.text):
        message = f"{quoted(word.text)} is not a whole decimal, 0x or 0-octal number"
        raise _Refused(word.place, message)
    number = int(word.text, 8 if re.match(r"0[0-7]", word.text) else 0)
    if number < MIN_NUMBER:
        meaning = ("not pinned", "set by object-ns", "set by global-ns")[number]
        raise _Refused(word.place, f"pinning value {number} is {meaning}, want {MIN_NUMBER}..{MAX_NUMBER}")
    if number > MAX_NUMBER:
        raise _Refused(word.place, f"pinning value {quoted(word.text)} is over {MAX_NUMBER}")
    return number


def _unknown_word(text: str) -> str:
    words = [keyword.value for keyword in Keyword if keyword.value.islower() and " " not in keyword.value]
    near = difflib.get_close_matches(text[:MAX_NUMBER_WORD], words, n=1)
    hint = f"did you mean {quoted(near[0])}?" if near else f"want {', '.join(words)} or a number"
    return f"unknown word {quoted(text)}, {hint}"


def _root(word: _Word) -> PurePosixPath:
    if not word.text.startswith("/"):
        raise _Refused(word.place, f"root {quoted(word.text)} is not an absolute path")
    for problem in _component_problems(word.text.strip("/").split("/")) if word.text.strip("/") else ():
        raise _Refused(word.place, f"root {quoted(word.text)} {problem}")
    return PurePosixPath("/" + word.text.strip("/"))


def _subdir(word: _Word) -> PurePosixPath:
    if word.text == ".":
        return PurePosixPath(".")
    if word.text.startswith("/"):
        raise _Refused(word.place, f"sub-directory {quoted(word.text)} starts with '/', want one below the root")
    components = word.text.removesuffix("/").split("/")
    for problem in (*_component_problems(components), *_dot_problems(components)):
        raise _Refused(word.place, f"sub-directory {quoted(word.text)} {problem}")
    return PurePosixPath(*components)


def _component_problems(components: list[str]) -> Iterator[str]:
    for component in components:
        if component in ("", ".", ".."):
            yield f"contains {quoted(component)}" if component else "contains '//'"
        if len(component.encode()) > NAME_MAX:
            yield f"has a component of {len(component.encode())} bytes, at most {NAME_MAX} are possible"
    if len("/".join(components).encode()) >= PATH_MAX:
        yield f"has {PATH_MAX} bytes or more"


def _dot_problems(components: list[str]) -> Iterator[str]:
    for component in components:
        if "." in component:
            yield "contains a dot, which a BPF file system refuses in names"

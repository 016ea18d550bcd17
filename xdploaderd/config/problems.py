"""What is wrong with a configuration text and where: all of it is collected, then raised as one ConfigError."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdploaderd.errors import ConfigError
from xdploaderd.printable import printable

MESSAGE_LIMIT = 20  # problems named in the message of one error; the rest is counted
FIELD_LIMIT = 200  # problems listed in its field `errors`
PROBLEM_LIMIT = 4096  # problems of one text after which the rest is not read


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text: line and column count from 1, the column in characters; line 0: no text, all of it."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        source = printable(self.source)
        return f"{source}:{self.line}:{self.column}" if self.line else source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `key` is the path of the key (`attachments[0].hook`), where the text has keys."""

    place: Place
    message: str
    key: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), self.key, self.message)))


def config_error(problems: Sequence[Problem | ConfigError]) -> ConfigError:
    """Return one error that tells all `problems` (at least one); its field `errors` has one line for each."""
    texts = [line for problem in problems for line in error_lines(problem)]
    if len(texts) == 1:
        return ConfigError(texts[0])
    shown = "; ".join(texts[:MESSAGE_LIMIT])
    more = f"; and {len(texts) - MESSAGE_LIMIT} more" if len(texts) > MESSAGE_LIMIT else ""
    return ConfigError(f"{len(texts)} errors: {shown}{more}", fields={"errors": texts[:FIELD_LIMIT]})


def error_lines(problem: Problem | ConfigError) -> list[str]:
    """Return one line for each problem that is told, each with its whole place."""
    if isinstance(problem, ConfigError):
        errors = problem.fields.get("errors")
        if isinstance(errors, list):
            return [": ".join((*problem.place, line)) for line in errors]
    return [str(problem)]


def decode_text(raw: bytes, *, source: str) -> str:
    """Return `raw` as text without a byte order mark; raise ConfigError where it is no UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problem = Problem(Place(source, line, column), f"byte 0x{raw[error.start]:02x} is not UTF-8 text")
        raise config_error([problem]) from None

"""The values a report is made of: checks in three values, and what they come to."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of a claim: it holds, it does not, or nobody here can tell."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


class Subject(StrEnum):
    """What a check is about."""

    OBJECT = "object"
    MAP = "map"
    EXTERN = "extern"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim on one part of an object: `name` is the part's, `check` a fixed word, `reason` for people.

    `since` is the first Linux release that has what is missing, where that is known.
    """

    subject: Subject
    name: str
    check: str
    verdict: Verdict
    reason: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to, before it is known of which part it is one."""

    verdict: Verdict
    reason: str = ""
    since: str = ""


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what several verdicts come to: one that fails decides, then one that is unknown."""
    found = frozenset(verdicts)
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found else Verdict.HOLDS

"""The words behind `action` where all actions are gact's: ok, drop, pipe, goto chain N and their like.

Mirrors parse_action of iproute2 tc/m_action.c, parse_gact of tc/m_gact.c and action_a2n of tc/tc_util.c.
"""

import re

from xdploaderd.front.words import EXIT_WORDS, Words, incomplete, matches, refused
from xdploaderd.net.tc_actions import (
    ACTION_SKIP_HW,
    ACTION_SKIP_SW,
    DETERM,
    EXTENDED_MAX,
    GOTO_CHAIN,
    JUMP,
    NETRAND,
    NO_PERCPU_STATS,
    RANDOM_MAX,
    Gact,
    RandomChoice,
)
from xdploaderd.printable import quoted

_EXIT_ACTION = 1
_CONTROLS = {  # TC_ACT_*, in the order of abbreviations
    "continue": -1,
    "drop": 2,
    "shot": 2,
    "pass": 0,
    "ok": 0,
    "reclassify": 1,
    "pipe": 3,
    "goto": GOTO_CHAIN,
    "jump": JUMP,
    "trap": 8,
}
_ENDS = ("flowid", "classid")  # words of the filter again
_VERBS = ("change", "replace", "delete", "get", "add")  # in any length: of `tc actions`, no actions themselves
_GACT = "gact"
_COOKIE_MAX = 32  # hexadecimal digits
_HW_STATS = {"immediate": 1, "delayed": 2, "disabled": 0}
_RANDOM = {"netrand": NETRAND, "determ": DETERM}
_DECIMAL = re.compile(r"[ \t]*\+?(?P<digits>[0-9]{1,20})", re.ASCII)
_U32_MAX = 0xFFFFFFFF


def parse_actions(words: Words) -> tuple[Gact, ...] | None:
    """Return the actions that the words behind `action` name; None where one of them may be of another kind than gact.

    Then the words are read up to somewhere. Raises UsageError.
    """
    if not words:
        raise incomplete()
    found: list[Gact] = []
    expected = False
    cookie = b""  # of an action, and of all behind it that have none
    while words and words.peek() not in _ENDS:
        if words.accept_exact("action"):
            expected = True
            continue
        if not _is_gact(words.peek()):
            return None
        action, cookie = _parse_one(words, cookie)
        found.append(action)
        expected = False
    if expected or not found:
        raise refused("an action is missing behind 'action'", status=_EXIT_ACTION)
    return tuple(found)


def _is_gact(word: str) -> bool:
    """Tell whether a word begins a gact; what a verb of `tc actions` could mean is none."""
    if any(matches(word, verb) for verb in _VERBS):
        return False
    return word == _GACT or any(matches(word, control) for control in _CONTROLS)


def _parse_one(words: Words, cookie: bytes) -> tuple[Gact, bytes]:
    if words.accept_exact(_GACT) and not words:
        raise incomplete()
    control, chance = 0, None
    if not matches(words.peek(), "index"):
        control = _parse_control(words)
        chance = _parse_random(words) if words.accept("random") else None
    index = _number(words.take(), _U32_MAX, "an index") if words.accept("index") else 0
    if words.accept_exact("cookie"):
        cookie = _parse_cookie(words.take())
    hw_stats = _parse_hw_stats(words.take()) if words.accept("hw_stats") else None
    action = Gact(
        control=control, index=index, random=chance, cookie=cookie, hw_stats=hw_stats, flags=_parse_flags(words)
    )
    return action, cookie


def _parse_control(words: Words) -> int:
    word = words.take()
    control = next((number for name, number in _CONTROLS.items() if matches(word, name)), None)
    if control is None:
        raise refused(f"{quoted(word)} is no action, want one of {', '.join(_CONTROLS)}")
    if control == GOTO_CHAIN:
        if not matches(chain := words.take(), "chain"):
            raise refused(f"{quoted(chain)} is wrong, want 'goto chain' and its number")
        return control | _number(words.take(), EXTENDED_MAX, "the number of a chain", status=EXIT_WORDS)
    if control == JUMP:
        return control | _number(words.take(), EXTENDED_MAX, "how many actions to jump", status=EXIT_WORDS)
    return control


def _parse_random(words: Words) -> RandomChoice:
    word = words.take()
    kind = next((number for name, number in _RANDOM.items() if matches(word, name)), None)
    if kind is None:
        raise refused(f"{quoted(word)} is no kind of chance, want netrand or determ", status=_EXIT_ACTION)
    control = _parse_control(words)
    if not words:
        raise refused(f"a number is missing behind 'random', 0 to {RANDOM_MAX}", status=_EXIT_ACTION)
    return RandomChoice(kind=kind, control=control, value=_number(words.take(), RANDOM_MAX, "a chance"))


def _parse_cookie(word: str) -> bytes:
    if len(word) > _COOKIE_MAX or len(word) % 2 or re.fullmatch("[0-9a-fA-F]*", word) is None:
        raise refused(f"{quoted(word)} is no cookie, want an even number of up to {_COOKIE_MAX} hexadecimal digits")
    return bytes.fromhex(word)


def _parse_hw_stats(word: str) -> int:
    kind = next((number for name, number in _HW_STATS.items() if matches(word, name)), None)
    if kind is None:
        raise refused(f"{quoted(word)} is no kind of hardware statistics, want one of {', '.join(_HW_STATS)}")
    return kind


def _parse_flags(words: Words) -> int:
    flags = NO_PERCPU_STATS if words.accept_exact("no_percpu") else 0
    for _ in range(2):  # either may come first
        if words.accept_exact("skip_sw"):
            flags |= ACTION_SKIP_SW
        elif words.accept_exact("skip_hw"):
            flags |= ACTION_SKIP_HW
    return flags


def _number(word: str, limit: int, what: str, *, status: int = _EXIT_ACTION) -> int:
    match = _DECIMAL.fullmatch(word)
    if match is None or int(match["digits"]) > limit:
        raise refused(f"{quoted(word)} is not {what}, want a number from 0 to {limit}", status=status)
    return int(match["digits"])

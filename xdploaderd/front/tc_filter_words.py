"""The words of `tc filter add|replace|change|del ... bpf ...`: which command, where, which program, with what options.

Mirrors do_filter of iproute2 tc/tc_filter.c and bpf_parse_opt of tc/f_bpf.c.
"""

from dataclasses import dataclass
from enum import StrEnum

from xdploaderd.front.bpfspec import BpfMode, BpfSpec, parse_bpf_spec
from xdploaderd.front.tc_action_words import parse_actions
from xdploaderd.front.tc_place import PlaceWords, parse_handle, parse_place
from xdploaderd.front.tc_words import parse_classid
from xdploaderd.front.words import Words, duplicate, refused
from xdploaderd.net.tc_actions import Gact
from xdploaderd.net.tc_messages import DIRECT_ACTION, SKIP_HW, SKIP_SW
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgType

BPF_KIND = "bpf"
EXIT_OPTIONS = 1  # what a filter's kind refuses
_ACTION, _POLICE = "action", "police"


class FilterVerb(StrEnum):
    """What is done to a filter, in the order in which abbreviations are tried."""

    ADD = "add"
    CHANGE = "change"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(slots=True)
class FilterOptions:
    """What follows the word `bpf`; `spec` None where no program is named, `spec_at` where its words begin and end."""

    spec: BpfSpec | None = None
    spec_at: tuple[int, int] = (0, 0)
    classid: int | None = None
    actions: tuple[Gact, ...] = ()
    flags: int = 0
    flags_gen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCommand:
    """One command that changes a filter. `options` None: `bpf` was the last word, or there was none (`kind` empty).

    `foreign`: of the words behind the program some are of an action or a policer that only tc(8) knows, and not read.
    """

    verb: FilterVerb
    place: PlaceWords
    kind: str
    handle: int
    options: FilterOptions | None
    foreign: bool = False


def parse_filter_command(words: Words) -> FilterCommand | None:
    """Return the command; None for one that is the real tc's: of another verb or kind, or foreign without a program.

    Raises UsageError.
    """
    verb = _parse_verb(words)
    if verb is None:
        return None
    place = parse_place(words)
    if not words:
        return _without_kind(verb, place)
    kind = words.take()
    if kind != BPF_KIND:
        return None
    handle = parse_handle(place)
    options = FilterOptions()
    wrote = bool(words)
    foreign = False
    while words and not foreign:
        foreign = not _parse_option(words, options)
    if foreign and options.spec is None:
        return None
    return FilterCommand(
        verb=verb, place=place, kind=kind, handle=handle, options=options if wrote else None, foreign=foreign
    )


def _parse_verb(words: Words) -> FilterVerb | None:
    return next((verb for verb in FilterVerb if words.accept(verb)), None)


def _without_kind(verb: FilterVerb, place: PlaceWords) -> FilterCommand | None:
    if place.handle is not None:
        raise refused("a handle says nothing without the kind of filter, such as bpf")
    if verb is not FilterVerb.DELETE:
        return None
    return FilterCommand(verb=verb, place=place, kind="", handle=0, options=None)


def _parse_option(words: Words, options: FilterOptions) -> bool:
    """Read one option; False for an action or a policer that only tc(8) knows."""
    if words.accept("run"):
        _parse_program(words, options)
    elif words.accept("classid") or words.accept("flowid"):
        _parse_class(words.take(), options)
    elif words.accept("direct-action", "da"):
        options.flags |= DIRECT_ACTION
    elif words.accept("skip_hw"):
        options.flags_gen |= SKIP_HW
    elif words.accept("skip_sw"):
        options.flags_gen |= SKIP_SW
    elif words.accept(_ACTION):
        return _parse_actions(words, options)
    elif words.accept(_POLICE):
        return False
    elif options.spec is None:
        _parse_program(words, options)
    else:
        raise refused(f"{quoted(words.take())} is no option of a bpf filter", status=EXIT_OPTIONS)
    return True


def _parse_class(word: str, options: FilterOptions) -> None:
    options.classid = parse_classid(word)
    if options.classid is None:
        raise refused(f"{quoted(word)} is no class id, want MAJOR:MINOR in hexadecimal", status=EXIT_OPTIONS)


def _parse_actions(words: Words, options: FilterOptions) -> bool:
    actions = parse_actions(words)
    options.actions = actions or ()
    return actions is not None


def _parse_program(words: Words, options: FilterOptions) -> None:
    if options.spec is not None:
        raise duplicate("run", words.take())
    start = words.at
    options.spec = parse_bpf_spec(words, ProgType.SCHED_CLS, bytecode=True, status=EXIT_OPTIONS)
    options.spec_at = start, words.at


def is_classic(spec: BpfSpec) -> bool:
    """Tell whether a program is classic bytecode."""
    return spec.mode in (BpfMode.BYTECODE, BpfMode.BYTECODE_FILE)

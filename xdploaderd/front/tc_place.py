"""The words of `tc filter` that say where: dev or block, parent, pref, protocol, chain, handle.

Mirrors the loops of tc_filter_modify, tc_filter_get and tc_filter_list in iproute2 tc/tc_filter.c.
"""

from collections.abc import Callable
from dataclasses import dataclass

from xdploaderd.front.tc_words import U16_MAX, U32_MAX, parse_classid, parse_number, parse_protocol
from xdploaderd.front.words import Words, duplicate, invalid, refused
from xdploaderd.net.tc_messages import IFINDEX_BLOCK, TC_H_MIN_EGRESS, TC_H_MIN_INGRESS, TC_H_ROOT, FilterPlace
from xdploaderd.printable import quoted

_PARENTS = {"root": TC_H_ROOT, "ingress": TC_H_MIN_INGRESS, "egress": TC_H_MIN_EGRESS}


@dataclass(slots=True)
class PlaceWords:
    """A filter's place as written; None for what is not. What the handle means is the filter's kind's business."""

    dev: str = ""
    block: int = 0
    parent: int | None = None
    priority: int | None = None
    protocol: int | None = None
    chain: int | None = None
    handle: str | None = None

    def at(self, ifindex: int, *, protocol: int = 0, handle: int = 0) -> FilterPlace:
        """Return the place on an interface; `protocol` where none is written."""
        return FilterPlace(
            ifindex=IFINDEX_BLOCK if self.block else ifindex,
            parent=self.block or self.parent or 0,
            priority=self.priority or 0,
            protocol=protocol if self.protocol is None else self.protocol,
            handle=handle,
            chain=self.chain,
        )


def parse_place(words: Words) -> PlaceWords:
    """Return the place that the next words tell, and stop at the first word that is none of them.

    Raises UsageError for a value that is none, or a second one.
    """
    place = PlaceWords()
    while words and _parse_one(words, place):
        pass
    return place


def _parse_one(words: Words, place: PlaceWords) -> bool:
    if words.accept_exact("dev"):
        _once("dev", place.dev, words)
        place.dev = words.take()
    elif words.accept("block"):
        _once("block", place.block, words)
        place.block = _value(words, lambda w: parse_number(w, U32_MAX) or None, "the number of a block, 1 or more")
    elif words.peek() in _PARENTS:
        word = words.take()
        if place.parent:
            raise refused(f"{quoted(word)}: the parent is given twice")
        place.parent = _PARENTS[word]
    elif words.accept_exact("parent"):
        _once("parent", place.parent, words)
        place.parent = _value(words, parse_classid, "a class id, such as ffff:fff2")
    else:
        return _parse_rest(words, place)
    if place.dev and place.block:
        raise refused("'dev' and 'block' exclude each other")
    return True


def _parse_rest(words: Words, place: PlaceWords) -> bool:
    if words.accept_exact("handle"):
        _once("handle", place.handle, words)
        place.handle = words.take()
    elif words.accept("preference") or words.accept("priority"):
        _once("priority", place.priority, words)
        place.priority = _value(words, lambda w: parse_number(w, U16_MAX), f"a priority, 0 to {U16_MAX}")
    elif words.accept("protocol"):
        _once("protocol", place.protocol, words)
        place.protocol = _value(words, parse_protocol, "a protocol by name or number")
    elif words.accept("chain"):
        _once("chain", place.chain, words)
        place.chain = _value(words, lambda w: parse_number(w, U32_MAX), "the number of a chain")
    else:
        return False
    return True


def parse_handle(place: PlaceWords) -> int:
    """Return the handle as a bpf filter's: a number, 0 for none. Raises UsageError."""
    if place.handle is None:
        return 0
    handle = parse_number(place.handle, U32_MAX)
    if handle is None:
        raise refused(f"{quoted(place.handle)} is no handle, want a number", status=1)
    return handle


def _once(option: str, value: object, words: Words) -> None:
    if value:
        raise duplicate(option, words.take())


def _value(words: Words, parse: Callable[[str], int | None], wanted: str) -> int:
    word = words.take()
    value = parse(word)
    if value is None:
        raise invalid(word, wanted)
    return value

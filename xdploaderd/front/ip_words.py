"""The words of `ip`: its options, and those of `ip link set` as far as it takes to find device and XDP clauses.

Mirrors main of iproute2 ip/ip.c, iplink_parse of ip/iplink.c and xdp_parse of ip/iplink_xdp.c: the same order of
comparisons, since it decides what an abbreviation means.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from xdploaderd.front.bpfspec import BpfSpec, parse_bpf_spec
from xdploaderd.front.dispatch import XDP_WORDS
from xdploaderd.front.words import Words, duplicate, incomplete, invalid, matches, refused
from xdploaderd.hooks import XdpMode
from xdploaderd.uapi.bpf import ProgType

_IFNAME_MAX = 127  # bytes of an alternative name: ALTIFNAMSIZ less the NUL
_MODES = {
    "xdp": XdpMode.UNSPECIFIED,
    "xdpgeneric": XdpMode.SKB,
    "xdpdrv": XdpMode.NATIVE,
    "xdpoffload": XdpMode.OFFLOAD,
}
LINK_SET_USAGE = (
    "ip [-force] link set dev DEV {xdp|xdpgeneric|xdpdrv|xdpoffload}"
    " {off | object FILE [section S] [program P] [verbose] | pinned PATH}"
)
# Options of `ip link set`: word, whether it may be abbreviated, how many words follow; in iproute2's order.
_SETTINGS: tuple[tuple[str, bool, int], ...] = (
    ("up", False, 0),
    ("down", False, 0),
    ("name", False, 1),
    ("index", False, 1),
    ("link", True, 1),
    ("address", True, 1),
    ("broadcast", True, 1),
    ("brd", False, 1),
    ("txqueuelen", True, 1),
    ("qlen", False, 1),
    ("txqlen", True, 1),
    ("mtu", False, 1),
    ("netns", False, 1),
    ("multicast", False, 1),
    ("allmulticast", False, 1),
    ("promisc", False, 1),
    ("trailers", False, 1),
    ("arp", False, 1),
    ("carrier", False, 1),
    ("master", True, 1),
    ("vrf", False, 1),
    ("nomaster", True, 0),
    ("dynamic", True, 1),
    ("alias", True, 1),
    ("group", False, 1),
    ("mode", False, 1),
    ("state", False, 1),
    ("numtxqueues", True, 1),
    ("numrxqueues", True, 1),
    ("addrgenmode", True, 1),
    ("link-netns", True, 1),
    ("link-netnsid", True, 1),
    ("protodown", False, 1),
    ("protodown_reason", False, 2),
    ("gso_max_size", False, 1),
    ("gso_max_segs", False, 1),
    ("gro_max_size", False, 1),
    ("gso_ipv4_max_size", False, 1),
    ("gro_ipv4_max_size", False, 1),
    ("parentdev", False, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class XdpClause:
    """One `xdp...` of a command line; `spec` None: off. `word` is how it was written."""

    word: str
    mode: XdpMode
    spec: BpfSpec | None


Part = str | XdpClause


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSet:
    """`ip link set`: `parts` are its words in their order with each XDP clause as one; `alone`: nothing else is set."""

    dev: str
    parts: tuple[Part, ...]
    alone: bool

    @property
    def clauses(self) -> tuple[XdpClause, ...]:
        """The XDP clauses: all are carried out up to the last, which the kernel gets."""
        return tuple(part for part in self.parts if isinstance(part, XdpClause))


@dataclass(slots=True)
class _Reading:
    """What has been read of a command line so far."""

    dev: str = ""
    name: str = ""
    alone: bool = True


def parse_link_set(argv: Sequence[str]) -> LinkSet:
    """Return what the words behind `ip link set` ask for. Raises UsageError with iproute2's exit status."""
    words, reading, parts = Words(argv), _Reading(), list[Part]()
    while words:
        if words.peek() in XDP_WORDS:
            parts.append(_parse_clause(words, reading))
        else:
            parts.extend(_parse_setting(words, reading))
    return LinkSet(dev=reading.dev or reading.name, parts=tuple(parts), alone=reading.alone)


def _parse_clause(words: Words, reading: _Reading) -> XdpClause:
    word = words.take()
    if not words or (_MODES[word] is XdpMode.OFFLOAD and not reading.dev):
        raise incomplete()
    if words.left == 1 and words.accept_exact("off", "none"):
        return XdpClause(word=word, mode=_MODES[word], spec=None)
    return XdpClause(word=word, mode=_MODES[word], spec=parse_bpf_spec(words, ProgType.XDP))


def _parse_setting(words: Words, reading: _Reading) -> tuple[str, ...]:
    """Return the words of one setting, or of the device."""
    word = words.take()
    for name, short, following in _SETTINGS:
        if matches(word, name) if short else word == name:
            reading.alone = False
            setting = (word, *(words.take() for _ in range(following)))
            reading.name = setting[1] if name == "name" else reading.name
            return setting
    if word == "vf":
        reading.alone = False
        return (word, *_up_to_clause(words))
    if matches(word, "type"):
        reading.alone = False
        return (word, *words.rest())
    return _parse_device(word, words, reading)


def _up_to_clause(words: Words) -> tuple[str, ...]:
    """Return the words of a virtual function: which of them are its own the real tool knows."""
    found = []
    while words and words.peek() not in XDP_WORDS:
        found.append(words.take())
    return tuple(found)


def _parse_device(word: str, words: Words, reading: _Reading) -> tuple[str, ...]:
    if matches(word, "help"):
        raise refused(f"usage: {LINK_SET_USAGE}")
    dev = words.take() if word == "dev" else word
    if reading.dev:
        raise duplicate("dev", dev)
    if not 0 < len(os.fsencode(dev)) <= _IFNAME_MAX or any(c == "/" or c.isspace() for c in dev):
        raise invalid(dev, "the name of an interface")
    reading.dev = dev
    return ("dev", dev)

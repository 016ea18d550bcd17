"""Which interfaces an entry is for: the parts of its key `match`, all of which must hold; pure.

An entry that gives an exact name, an exact alternative name or an index is one attachment. Any other may fit several
interfaces, and is one attachment on each. A glob has `*`, `?` and `[...]`, as in glob(7).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xdploaderd.config.yaml_text import Entries, Word
from xdploaderd.printable import quoted

KEYS = ("name", "altname", "mac", "driver", "ifindex")
AT = "@"  # between the name of an entry for several interfaces and the name of one of them
_GLOB = frozenset("*?[")
_TEXT_MAX = 127  # bytes: ALTIFNAMSIZ less the NUL
_IFINDEX_MAX = 0x7FFFFFFF
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){0,31}")  # MAX_ADDR_LEN is 32
_INDEX = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What an interface must be; '' and 0: any. `name` and `altname` may be globs, `mac` is lower case with colons."""

    name: str = ""
    altname: str = ""
    mac: str = ""
    driver: str = ""
    ifindex: int = 0

    @property
    def one(self) -> bool:
        """Whether one interface at most can fit."""
        return bool(self.ifindex) or any(text and not is_glob(text) for text in (self.name, self.altname))

    @property
    def parts(self) -> Mapping[str, str | int]:
        """Return the parts that are given, by key."""
        return {key: value for key in KEYS if (value := getattr(self, key))}

    def __str__(self) -> str:
        return ", ".join(f"{key} {quoted(str(value))}" for key, value in self.parts.items())


ANY = Match()  # nothing is asked of an interface


def is_glob(text: str) -> bool:
    """Return whether the text stands for several names."""
    return not _GLOB.isdisjoint(text)


def instance_name(entry: str, ifname: str) -> str:
    """Return what an entry for several interfaces is called on one of them."""
    return f"{entry}{AT}{ifname}"


def entry_of(name: str) -> str:
    """Return the entry that an attachment belongs to; an entry's own name is its own."""
    return name.partition(AT)[0]


def parse_match(value: object) -> Match:
    """Return the key `match` from its tree; raise ValueError that tells what is wrong with it."""
    if not isinstance(value, Entries):
        raise ValueError(f"want a mapping with one or more of {', '.join(KEYS)}")
    if not value.nodes:
        raise ValueError(f"is empty, want one or more of {', '.join(KEYS)}")
    unknown = [key for key in value.nodes if key not in KEYS]
    if unknown:
        raise ValueError(f"unknown key {quoted(unknown[0])}, want one of {', '.join(KEYS)}")
    texts = {key: _text(key, node) for key, node in value.nodes.items()}
    return Match(
        name=texts.get("name", ""),
        altname=texts.get("altname", ""),
        mac=_mac(texts.get("mac", "")),
        driver=texts.get("driver", ""),
        ifindex=_ifindex(texts.get("ifindex", "")),
    )


def _text(key: str, node: object) -> str:
    if not isinstance(node, Word) or not node.text:
        raise ValueError(f"{quoted(key)}: want a word")
    text = node.text
    if not text.isprintable() or any(c.isspace() or c == "/" for c in text):
        raise ValueError(f"{quoted(key)}: {quoted(text)} cannot be part of an interface's name")
    if len(text.encode()) > _TEXT_MAX:
        raise ValueError(f"{quoted(key)}: {quoted(text)} has {len(text.encode())} bytes, at most {_TEXT_MAX} fit")
    return text


def _mac(text: str) -> str:
    if text and not _MAC.fullmatch(text):
        raise ValueError(f"'mac': want a hardware address, such as 02:00:00:00:00:01, not {quoted(text)}")
    return text.lower().replace("-", ":")


def _ifindex(text: str) -> int:
    if text and not (_INDEX.fullmatch(text) and int(text) <= _IFINDEX_MAX):
        raise ValueError(f"'ifindex': want a number from 1 to {_IFINDEX_MAX}, not {quoted(text)}")
    return int(text or 0)

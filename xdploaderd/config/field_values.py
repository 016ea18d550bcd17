"""Values of xdploaderd.yaml: each reader takes a node of the file and returns its value, or says what is wrong."""

import difflib
import re
from enum import StrEnum

from pydantic_core import PydanticCustomError

from xdploaderd.config.interface_match import Match, parse_match
from xdploaderd.config.yaml_text import Entries, Items, Node, Word
from xdploaderd.hooks import PROTOCOLS, AttachKind, Hook, MapSharing, OnForeign, OnMismatch, Where, XdpMode
from xdploaderd.limits import LIMIT_NAMES, limit_problem
from xdploaderd.printable import quoted

IFNAME_MAX = 15  # bytes: IFNAMSIZ less the NUL
PATH_MAX = 4095
PROGRAM_MAX = 255
PRIORITY_MAX = 0xFFFF  # upper half of tcm_info
ETHER_TYPE_MAX = 0xFFFF
HANDLE_MAX = 0xFFFFFFFF
MAX_ENTRIES = 0xFFFFFFFF
DEFAULT_PRIORITY = 1  # of a tc filter; both are always sent, so that replace finds the filter again
DEFAULT_HANDLE = 1
NUMBER_MAX = 32  # characters of a number as written
MAX_ATTACHMENTS = 4096  # of one file

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*")
_CLASSID = re.compile(r"([0-9a-fA-F]{0,4}):([0-9a-fA-F]{0,4})")  # tc(8), UNITS: major and minor in hex
NAME_PATTERN = re.compile(r"[a-z0-9-]{1,63}")


def refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


def read_word(value: object) -> str:
    """Take a word as written, quoted or not."""
    if isinstance(value, Word):
        if value.text:
            return value.text
        raise refuse("is empty")
    raise refuse(f"want a word, not {shape_of(value)}")


def read_number(value: object) -> int:
    text = plain_text(value, "a whole number")
    if len(text) > NUMBER_MAX or not _NUMBER.fullmatch(text):
        raise refuse(f"want a whole decimal or 0x number, not {quoted(text)}")
    return int(text, 0)


def read_bool(value: object) -> bool:
    text = plain_text(value, "true or false")
    if text not in ("true", "false"):
        raise refuse(f"want true or false, not {quoted(text)}")
    return text == "true"


def plain_text(value: object, wanted: str) -> str:
    if not isinstance(value, Word):
        raise refuse(f"want {wanted}, not {shape_of(value)}")
    if not value.plain:
        raise refuse(f"want {wanted}, not a word in quotes")
    return value.text


def read_name(text: str) -> str:
    if not NAME_PATTERN.fullmatch(text):
        raise refuse(f"{quoted(text)} is not a name, want 1 to 63 of a-z, 0-9 and '-'")
    return text


def read_interface(text: str) -> str:
    """Refuse what the kernel's dev_valid_name() refuses, and what cannot be printed."""
    if text in (".", "..") or any(c in "/:" or c.isspace() or not c.isprintable() for c in text):
        raise refuse(f"{quoted(text)} cannot be the name of an interface")
    if len(text.encode()) > IFNAME_MAX:
        raise refuse(f"{quoted(text)} has {len(text.encode())} bytes, names of interfaces have at most {IFNAME_MAX}")
    return text


def read_match(value: object) -> Match:
    try:
        return parse_match(value)
    except ValueError as error:
        raise refuse(str(error)) from error


def read_object(text: str) -> str:
    if not text.startswith("/"):
        raise refuse(f"{quoted(text)} is not an absolute path")
    return read_limited(text, PATH_MAX)


def read_program(text: str) -> str:
    return read_limited(text, PROGRAM_MAX)


def read_limited(text: str, limit: int) -> str:
    if not text.isprintable():
        raise refuse(f"{quoted(text)} contains control characters")
    if len(text.encode()) > limit:
        raise refuse(f"{quoted(text)} has {len(text.encode())} bytes, at most {limit} are possible")
    return text


def read_choice(value: object, choices: type[StrEnum]) -> str:
    text = read_word(value)
    if text not in list(choices):
        raise refuse(f"{quoted(text)} is not one of {', '.join(choices)}{nearest(text, list(choices))}")
    return text


def read_hook(value: object) -> str:
    return read_choice(value, Hook)


def read_mode(value: object) -> str:
    return read_choice(value, XdpMode)


def read_on_foreign(value: object) -> str:
    return read_choice(value, OnForeign)


def read_maps(value: object) -> str:
    return read_choice(value, MapSharing)


def read_attach(value: object) -> str:
    return read_choice(value, AttachKind)


def read_modes(value: object) -> list[str]:
    if not isinstance(value, Items) or not value.nodes:
        raise refuse(f"want a list of modes, best first, not {shape_of(value)}")
    modes = [read_mode(node) for node in value.nodes]
    if len(set(modes)) < len(modes):
        raise refuse("has a mode twice")
    if XdpMode.UNSPECIFIED in modes:
        raise refuse(f"{quoted(XdpMode.UNSPECIFIED)} leaves the choice to the kernel, and is no mode of a list")
    return modes


def read_order(value: object) -> str:
    """Take `first`, `last`, or `before` or `after` with what it is relative to: as one word or as a mapping."""
    if isinstance(value, Entries) and len(value.nodes) == 1:
        ((where, node),) = value.nodes.items()
        anchor = value_of(where, node)
    else:
        where, _, anchor = read_word(value).partition(":")
    if where not in list(Where) or bool(anchor) is (where in (Where.FIRST, Where.LAST)):
        raise refuse("want first, last, before: NAME or after: NAME, NAME being an entry, a program or its id")
    return read_limited(f"{where}:{anchor}" if anchor else where, PROGRAM_MAX)


def read_on_mismatch(value: object) -> str:
    return read_choice(value, OnMismatch)


def read_protocol(value: object) -> int:
    text = read_word(value)
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    number = int(text, 0) if len(text) <= NUMBER_MAX and _NUMBER.fullmatch(text) else 0
    if not 0 < number <= ETHER_TYPE_MAX:
        names = list(PROTOCOLS)
        raise refuse(f"{quoted(text)} is not one of {', '.join(names)}, nor an EtherType{nearest(text, names)}")
    return number


def read_classid(value: object) -> int:
    text = read_word(value)
    if match := _CLASSID.fullmatch(text):
        return int(match[1] or "0", 16) << 16 | int(match[2] or "0", 16)
    number = int(text, 0) if len(text) <= NUMBER_MAX and _NUMBER.fullmatch(text) else -1
    if not 0 <= number <= HANDLE_MAX:
        raise refuse(f"want a class id, such as 1:10, not {quoted(text)}")
    return number


def read_globals(value: object) -> dict[str, str]:
    return {name: value_of(name, node) for name, node in read_entries(value).items()}


def read_max_entries(value: object) -> dict[str, int]:
    sizes = {name: read_number(node) for name, node in read_entries(value).items()}
    for name, size in sizes.items():
        if not 0 < size <= MAX_ENTRIES:
            raise refuse(f"{quoted(name)}: want a number from 1 to {MAX_ENTRIES}")
    return sizes


def read_limits(value: object) -> dict[str, int]:
    return {name: read_limit(name, node) for name, node in read_entries(value).items()}


def read_limit(name: str, node: Node) -> int:
    if name not in LIMIT_NAMES:
        raise refuse(unknown_key(name, list(LIMIT_NAMES)))
    value = read_number(node)
    if problem := limit_problem(name, value):
        raise refuse(problem)
    return value


def read_share(value: object) -> dict[str, str]:
    pins = {name: value_of(name, node) for name, node in read_entries(value).items()}
    for name, pin in pins.items():
        if not pin or ".." in pin.split("/"):
            raise refuse(f"{quoted(name)}: {quoted(pin)} is no name of a pin and no path without '..'")
        read_limited(pin, PATH_MAX)
    return pins


def read_map_init(value: object) -> dict[str, str]:
    files = {name: value_of(name, node) for name, node in read_entries(value).items()}
    for name, file in files.items():
        if not file.startswith("/"):
            raise refuse(f"{quoted(name)}: {quoted(file)} is not an absolute path")
        read_limited(file, PATH_MAX)
    return files


def read_no_maps(value: object) -> list[str]:
    if not isinstance(value, Items):
        raise refuse(f"want a list, not {shape_of(value)}")
    return [read_limited(read_word(node), PROGRAM_MAX) for node in value.nodes]


def read_entries(value: object) -> dict[str, Node]:
    if not isinstance(value, Entries):
        raise refuse(f"want a mapping, not {shape_of(value)}")
    for name in value.nodes:
        read_limited(name, PROGRAM_MAX)
    return value.nodes


def value_of(name: str, node: Node) -> str:
    if not isinstance(node, Word):
        raise refuse(f"{quoted(name)}: want a word, not {shape_of(node)}")
    return node.text


def unknown_key(key: str, known: list[str]) -> str:
    """Return what is said of a key that is none of `known`."""
    near = nearest(key, known) or f", want one of {', '.join(known)}"
    return f"unknown key {quoted(key)}{near}"


def nearest(text: str, known: list[str]) -> str:
    near = difflib.get_close_matches(text[:PROGRAM_MAX], known, n=1)
    return f", did you mean {quoted(near[0])}?" if near else ""


def is_empty(node: Node) -> bool:
    """`attachments:` with nothing after it, as when every entry is a comment."""
    return isinstance(node, Word) and node.plain and not node.text


def shape_of(node: object) -> str:
    match node:
        case Items():
            return "a list"
        case Entries():
            return "a mapping"
        case _:
            return "a word"

"""The model of xdploaderd.yaml: which keys there are and what they may hold; its JSON Schema comes from it too."""

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from xdploaderd.config.interface_match import ANY, Match, parse_match
from xdploaderd.config.problems import PROBLEM_LIMIT, Place, Problem
from xdploaderd.config.yaml_text import Entries, Items, Node, Word
from xdploaderd.hooks import ETH_P_ALL, PROTOCOLS, AttachKind, Hook, MapSharing, OnForeign, OnMismatch, Where, XdpMode
from xdploaderd.limits import LIMIT_MAX, LIMIT_NAMES, limit_problem
from xdploaderd.printable import printable, quoted

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

_XDP_KEYS = ("mode", "modes")
_FILTER_KEYS = ("priority", "handle", "protocol", "classid")
_TCX_KEYS = ("order",)
_TC_KEYS = (*_FILTER_KEYS, *_TCX_KEYS)

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*")
_CLASSID = re.compile(r"([0-9a-fA-F]{0,4}):([0-9a-fA-F]{0,4})")  # tc(8), UNITS: major and minor in hex
_NAME = re.compile(r"[a-z0-9-]{1,63}")


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


def _word(value: object) -> str:
    """Take a word as written, quoted or not."""
    if isinstance(value, Word):
        if value.text:
            return value.text
        raise _refuse("is empty")
    raise _refuse(f"want a word, not {_shape(value)}")


def _number(value: object) -> int:
    text = _plain(value, "a whole number")
    if len(text) > NUMBER_MAX or not _NUMBER.fullmatch(text):
        raise _refuse(f"want a whole decimal or 0x number, not {quoted(text)}")
    return int(text, 0)


def _bool(value: object) -> bool:
    text = _plain(value, "true or false")
    if text not in ("true", "false"):
        raise _refuse(f"want true or false, not {quoted(text)}")
    return text == "true"


def _plain(value: object, wanted: str) -> str:
    if not isinstance(value, Word):
        raise _refuse(f"want {wanted}, not {_shape(value)}")
    if not value.plain:
        raise _refuse(f"want {wanted}, not a word in quotes")
    return value.text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise _refuse(f"{quoted(text)} is not a name, want 1 to 63 of a-z, 0-9 and '-'")
    return text


def _interface(text: str) -> str:
    """Refuse what the kernel's dev_valid_name() refuses, and what cannot be printed."""
    if text in (".", "..") or any(c in "/:" or c.isspace() or not c.isprintable() for c in text):
        raise _refuse(f"{quoted(text)} cannot be the name of an interface")
    if len(text.encode()) > IFNAME_MAX:
        raise _refuse(f"{quoted(text)} has {len(text.encode())} bytes, names of interfaces have at most {IFNAME_MAX}")
    return text


def _match(value: object) -> Match:
    try:
        return parse_match(value)
    except ValueError as error:
        raise _refuse(str(error)) from error


def _object(text: str) -> str:
    if not text.startswith("/"):
        raise _refuse(f"{quoted(text)} is not an absolute path")
    return _limited(text, PATH_MAX)


def _program(text: str) -> str:
    return _limited(text, PROGRAM_MAX)


def _limited(text: str, limit: int) -> str:
    if not text.isprintable():
        raise _refuse(f"{quoted(text)} contains control characters")
    if len(text.encode()) > limit:
        raise _refuse(f"{quoted(text)} has {len(text.encode())} bytes, at most {limit} are possible")
    return text


def _choice(value: object, choices: type[StrEnum]) -> str:
    text = _word(value)
    if text not in list(choices):
        raise _refuse(f"{quoted(text)} is not one of {', '.join(choices)}{_near(text, list(choices))}")
    return text


def _hook(value: object) -> str:
    return _choice(value, Hook)


def _mode(value: object) -> str:
    return _choice(value, XdpMode)


def _on_foreign(value: object) -> str:
    return _choice(value, OnForeign)


def _maps(value: object) -> str:
    return _choice(value, MapSharing)


def _attach(value: object) -> str:
    return _choice(value, AttachKind)


def _modes(value: object) -> list[str]:
    if not isinstance(value, Items) or not value.nodes:
        raise _refuse(f"want a list of modes, best first, not {_shape(value)}")
    modes = [_mode(node) for node in value.nodes]
    if len(set(modes)) < len(modes):
        raise _refuse("has a mode twice")
    if XdpMode.UNSPECIFIED in modes:
        raise _refuse(f"{quoted(XdpMode.UNSPECIFIED)} leaves the choice to the kernel, and is no mode of a list")
    return modes


def _order(value: object) -> str:
    """Take `first`, `last`, or `before` or `after` with what it is relative to: as one word or as a mapping."""
    if isinstance(value, Entries) and len(value.nodes) == 1:
        ((where, node),) = value.nodes.items()
        anchor = _value_of(where, node)
    else:
        where, _, anchor = _word(value).partition(":")
    if where not in list(Where) or bool(anchor) is (where in (Where.FIRST, Where.LAST)):
        raise _refuse("want first, last, before: NAME or after: NAME, NAME being an entry, a program or its id")
    return _limited(f"{where}:{anchor}" if anchor else where, PROGRAM_MAX)


def _on_mismatch(value: object) -> str:
    return _choice(value, OnMismatch)


def _protocol(value: object) -> int:
    text = _word(value)
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    number = int(text, 0) if len(text) <= NUMBER_MAX and _NUMBER.fullmatch(text) else 0
    if not 0 < number <= ETHER_TYPE_MAX:
        names = list(PROTOCOLS)
        raise _refuse(f"{quoted(text)} is not one of {', '.join(names)}, nor an EtherType{_near(text, names)}")
    return number


def _classid(value: object) -> int:
    text = _word(value)
    if match := _CLASSID.fullmatch(text):
        return int(match[1] or "0", 16) << 16 | int(match[2] or "0", 16)
    number = int(text, 0) if len(text) <= NUMBER_MAX and _NUMBER.fullmatch(text) else -1
    if not 0 <= number <= HANDLE_MAX:
        raise _refuse(f"want a class id, such as 1:10, not {quoted(text)}")
    return number


def _globals(value: object) -> dict[str, str]:
    return {name: _value_of(name, node) for name, node in _entries(value).items()}


def _max_entries(value: object) -> dict[str, int]:
    sizes = {name: _number(node) for name, node in _entries(value).items()}
    for name, size in sizes.items():
        if not 0 < size <= MAX_ENTRIES:
            raise _refuse(f"{quoted(name)}: want a number from 1 to {MAX_ENTRIES}")
    return sizes


def _limits(value: object) -> dict[str, int]:
    return {name: _limit(name, node) for name, node in _entries(value).items()}


def _limit(name: str, node: Node) -> int:
    if name not in LIMIT_NAMES:
        raise _refuse(_unknown(name, list(LIMIT_NAMES)))
    value = _number(node)
    if problem := limit_problem(name, value):
        raise _refuse(problem)
    return value


def _share(value: object) -> dict[str, str]:
    pins = {name: _value_of(name, node) for name, node in _entries(value).items()}
    for name, pin in pins.items():
        if not pin or ".." in pin.split("/"):
            raise _refuse(f"{quoted(name)}: {quoted(pin)} is no name of a pin and no path without '..'")
        _limited(pin, PATH_MAX)
    return pins


def _map_init(value: object) -> dict[str, str]:
    files = {name: _value_of(name, node) for name, node in _entries(value).items()}
    for name, file in files.items():
        if not file.startswith("/"):
            raise _refuse(f"{quoted(name)}: {quoted(file)} is not an absolute path")
        _limited(file, PATH_MAX)
    return files


def _no_maps(value: object) -> list[str]:
    if not isinstance(value, Items):
        raise _refuse(f"want a list, not {_shape(value)}")
    return [_limited(_word(node), PROGRAM_MAX) for node in value.nodes]


def _entries(value: object) -> dict[str, Node]:
    if not isinstance(value, Entries):
        raise _refuse(f"want a mapping, not {_shape(value)}")
    for name in value.nodes:
        _limited(name, PROGRAM_MAX)
    return value.nodes


def _value_of(name: str, node: Node) -> str:
    if not isinstance(node, Word):
        raise _refuse(f"{quoted(name)}: want a word, not {_shape(node)}")
    return node.text


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_MATCH_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {
        "name": {**_TEXT_SCHEMA, "description": "name of the interface, or a glob"},
        "altname": {**_TEXT_SCHEMA, "description": "alternative name of the interface, or a glob"},
        "mac": {**_TEXT_SCHEMA, "description": "hardware address"},
        "driver": {**_TEXT_SCHEMA, "description": "driver as ethtool -i tells it, or kind of link"},
        "ifindex": {"type": "integer", "minimum": 1, "description": "index of the interface"},
    },
}


class AttachmentModel(BaseModel):
    """One program attached to one hook of one interface, or of each interface that fits."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="attachment",
        json_schema_extra={"oneOf": [{"required": ["interface"]}, {"required": ["match"]}]},
    )

    name: Annotated[str, BeforeValidator(_word), AfterValidator(_name)] = Field(
        description="unique name of the attachment", json_schema_extra={"pattern": f"^{_NAME.pattern}$"}
    )
    interface: Annotated[str, BeforeValidator(_word), AfterValidator(_interface)] = Field(
        default="",
        description="name of the network interface; it may appear later",
        json_schema_extra={"minLength": 1, "maxLength": IFNAME_MAX},
    )
    match: Annotated[Match, BeforeValidator(_match), WithJsonSchema(_MATCH_SCHEMA)] = Field(
        default=ANY, description="what an interface must be, in place of its name; all that is given must hold"
    )
    hook: Annotated[Hook, BeforeValidator(_hook)] = Field(description="where on the interface the program runs")
    object: Annotated[str, BeforeValidator(_word), AfterValidator(_object)] = Field(
        description="absolute path of the BPF object file", json_schema_extra={"pattern": "^/"}
    )
    program: Annotated[str, BeforeValidator(_word), AfterValidator(_program)] = Field(
        description="name of the program's function, or of its section where it has none",
        json_schema_extra={"minLength": 1, "maxLength": PROGRAM_MAX},
    )
    mode: Annotated[XdpMode, BeforeValidator(_mode)] = Field(
        default=XdpMode.UNSPECIFIED, description="how XDP is run; on hook xdp only"
    )
    modes: Annotated[list[XdpMode], BeforeValidator(_modes)] = Field(
        default=[],
        description="modes of XDP in the order in which they are tried, instead of mode; on hook xdp only",
        json_schema_extra={"minItems": 1, "uniqueItems": True},
    )
    attach: Annotated[AttachKind, BeforeValidator(_attach)] = Field(
        default=AttachKind.NETLINK,
        description="netlink: as ip and tc attach, seen and changed by every tool; link: a pinned bpf_link, on tc TCX",
    )
    order: Annotated[str, BeforeValidator(_order)] = Field(
        default="",
        description="where among the programs of a TCX hook: first, last, before or after another; with attach: link",
        json_schema_extra={"type": ["string", "object"]},
    )
    priority: Annotated[int, Field(ge=1, le=PRIORITY_MAX), BeforeValidator(_number)] = Field(
        default=DEFAULT_PRIORITY, description="priority of the tc filter, lower runs first; on tc hooks only"
    )
    handle: Annotated[int, Field(ge=1, le=HANDLE_MAX), BeforeValidator(_number)] = Field(
        default=DEFAULT_HANDLE, description="handle of the tc filter within its priority; on tc hooks only"
    )
    protocol: Annotated[int, BeforeValidator(_protocol)] = Field(
        default=ETH_P_ALL,
        description="protocol the tc filter looks at: all, ip, ipv6, arp, ... or its EtherType; on tc hooks only",
        json_schema_extra={"type": ["string", "integer"]},
    )
    classid: Annotated[int, BeforeValidator(_classid)] = Field(
        default=0,
        description="class that the tc filter gives to packets: MAJOR:MINOR in hex, or a number; on tc hooks only",
        json_schema_extra={"type": ["string", "integer"]},
    )
    force: Annotated[bool, BeforeValidator(_bool)] = Field(
        default=False, description="replace a program that somebody else put on the hook"
    )
    allow_gap: Annotated[bool, BeforeValidator(_bool)] = Field(
        default=False, description="make changes that leave a moment without a program: of mode, kind or place"
    )
    on_foreign: Annotated[OnForeign, BeforeValidator(_on_foreign)] = Field(
        default=OnForeign.REPORT,
        description="what is done when somebody else takes the program off: report it, restore it, or yield",
    )
    globals: Annotated[dict[str, str], BeforeValidator(_globals)] = Field(
        default={},
        description="initial values of the object's variables, by name",
        json_schema_extra={"additionalProperties": {"type": ["string", "number", "boolean"]}},
    )
    max_entries: Annotated[dict[str, int], BeforeValidator(_max_entries)] = Field(
        default={},
        description="numbers of entries of the object's maps, by name",
        json_schema_extra={"additionalProperties": {"type": "integer", "minimum": 1, "maximum": MAX_ENTRIES}},
    )
    maps: Annotated[MapSharing, BeforeValidator(_maps)] = Field(
        default=MapSharing.PER_INTERFACE,
        description="shared: entries with the same object, program and values share one loaded program and its maps",
    )
    share: Annotated[dict[str, str], BeforeValidator(_share)] = Field(
        default={}, description="pins that maps of the object share with others, by map: a name, or a path"
    )
    no_maps: Annotated[list[str], BeforeValidator(_no_maps)] = Field(
        default=[], description="maps of the object that are not made, for programs that never come to use them"
    )
    map_init: Annotated[dict[str, str], BeforeValidator(_map_init)] = Field(
        default={},
        description="JSON files with the entries that new maps of the object hold from the start, by map",
        json_schema_extra={"additionalProperties": {"type": "string", "pattern": "^/"}},
    )
    keep_maps: Annotated[list[str], BeforeValidator(_no_maps)] = Field(
        default=[], description="unpinned maps that go over, with what they hold, to the program of a changed object"
    )
    on_mismatch: Annotated[OnMismatch, BeforeValidator(_on_mismatch)] = Field(
        default=OnMismatch.REFUSE,
        description="what is done when a pinned map differs from the object's: refuse it, recreate it empty, or migrate"
        " its entries to a new one",
    )


class FileModel(BaseModel):
    """A configuration file of xdploaderd."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="xdploaderd.yaml")

    attachments: list[AttachmentModel] = Field(default=[], description="the programs that are wanted")
    protect: list[str] = Field(
        default=[],
        description="interfaces whose programs change by `apply --confirm` alone",
        max_length=MAX_ATTACHMENTS,
    )
    limits: Annotated[dict[str, int], BeforeValidator(_limits)] = Field(
        default={},
        description="bounds on what an object may ask for, by name",
        json_schema_extra={
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 0, "maximum": LIMIT_MAX} for name in LIMIT_NAMES},
        },
    )


@dataclass(frozen=True, slots=True)
class Validated:
    """The entries that are well-formed, each with its place, and all that is wrong with the rest."""

    entries: tuple[tuple[AttachmentModel, Place], ...]
    problems: tuple[Problem, ...]
    limits: Mapping[str, int] = field(default_factory=dict)
    protect: tuple[str, ...] = ()


def attachments_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    return FileModel.model_json_schema()


def validate(root: Node) -> Validated:
    """Hold a YAML tree against the models."""
    if not isinstance(root, Entries):
        message = f"want a mapping with the key 'attachments', not {_shape(root)}"
        return Validated((), (Problem(root.place, message),))
    known = list(FileModel.model_fields)
    problems = [
        Problem(key.place, _unknown(name, known), printable(name))
        for name, key in itertools.islice(root.keys.items(), PROBLEM_LIMIT)
        if name not in known
    ]
    attachments, limits = root.nodes.get("attachments"), _validate_limits(root.nodes.get("limits"), problems)
    protect = _validate_protect(root.nodes.get("protect"), problems)
    if isinstance(attachments, Items):
        return replace(_validate_entries(attachments, problems), limits=limits, protect=protect)
    if attachments is not None and not _is_empty(attachments):
        problems.append(Problem(attachments.place, f"want a list, not {_shape(attachments)}", "attachments"))
    return Validated((), tuple(problems), limits, protect)


def _validate_protect(node: Node | None, problems: list[Problem]) -> tuple[str, ...]:
    """Return the interfaces of `protect`, and note what is wrong there."""
    if node is None or _is_empty(node):
        return ()
    if not isinstance(node, Items):
        problems.append(Problem(node.place, f"want a list, not {_shape(node)}", "protect"))
        return ()
    found = []
    for number, item in enumerate(itertools.islice(node.nodes, MAX_ATTACHMENTS)):
        try:
            found.append(_interface(_word(item)))
        except PydanticCustomError as error:
            problems.append(Problem(item.place, error.message(), f"protect[{number}]"))
    return tuple(found)


def _validate_limits(node: Node | None, problems: list[Problem]) -> Mapping[str, int]:
    """Return what `limits` sets, and note what is wrong there."""
    if node is None or _is_empty(node):
        return {}
    if not isinstance(node, Entries):
        problems.append(Problem(node.place, f"want a mapping, not {_shape(node)}", "limits"))
        return {}
    found: dict[str, int] = {}
    for name, value in itertools.islice(node.nodes.items(), PROBLEM_LIMIT):
        try:
            found[name] = _limit(name, value)
        except PydanticCustomError as error:
            place = value.place if name in LIMIT_NAMES else node.keys[name].place
            problems.append(Problem(place, error.message(), f"limits.{printable(name)}"))
    return found


def _validate_entries(attachments: Items, problems: list[Problem]) -> Validated:
    """Hold each attachment against its model, to the end or until there are more problems than are told."""
    count = len(attachments.nodes)
    if count > MAX_ATTACHMENTS:
        message = f"{count} attachments in one file, want at most {MAX_ATTACHMENTS}"
        return Validated((), (Problem(attachments.place, message, "attachments"),))
    entries = []
    for number, node in enumerate(attachments.nodes):
        if len(problems) >= PROBLEM_LIMIT:
            break
        entries.append(_validate_entry(node, f"attachments[{number}]", problems))
    return Validated(tuple(entry for entry in entries if entry), tuple(problems))


def validate_entry(node: Node) -> Validated:
    """Hold the tree of one attachment against its model."""
    problems: list[Problem] = []
    entry = _validate_entry(node, "", problems)
    return Validated((entry,) if entry else (), tuple(problems))


def _validate_entry(node: Node, path: str, problems: list[Problem]) -> tuple[AttachmentModel, Place] | None:
    if not isinstance(node, Entries):
        problems.append(Problem(node.place, f"want a mapping, not {_shape(node)}", path))
        return None
    found = [*_misplaced_keys(node, path), *_which_interface(node, path)]
    try:
        model = AttachmentModel.model_validate(node.nodes)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found += [_problem(detail, node, path) for detail in details]
        model = None
    problems += sorted(found, key=lambda problem: (problem.place.line, problem.place.column))
    return (model, node.place) if model else None


def _problem(detail: ErrorDetails, node: Entries, path: str) -> Problem:
    key = str(detail["loc"][0])
    match detail["type"]:
        case "missing":
            return Problem(node.place, f"key {quoted(key)} is missing", path)
        case "extra_forbidden":
            message = _unknown(key, list(AttachmentModel.model_fields))
            return Problem(node.keys[key].place, message, _under(path, printable(key)))
        case "greater_than_equal" | "less_than_equal":
            limit = PRIORITY_MAX if key == "priority" else HANDLE_MAX
            return Problem(node.nodes[key].place, f"want a number from 1 to {limit}", _under(path, key))
        case _:
            return Problem(node.nodes[key].place, detail["msg"], _under(path, key))


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _misplaced_keys(node: Entries, path: str) -> list[Problem]:
    """Tell keys that mean nothing on the entry's hook."""
    hook = node.nodes.get("hook")
    if not isinstance(hook, Word) or hook.text not in list(Hook):
        return []
    kind = node.nodes.get("attach")
    by_link = isinstance(kind, Word) and kind.text == AttachKind.LINK
    on = f"hook {quoted(hook.text)}"
    wrong = dict.fromkeys(_TC_KEYS if hook.text == Hook.XDP else _XDP_KEYS, on)
    if hook.text != Hook.XDP:
        kind_of_hook = f"a hook of {quoted(f'attach: {AttachKind.LINK if by_link else AttachKind.NETLINK}')}"
        wrong |= dict.fromkeys(_FILTER_KEYS if by_link else _TCX_KEYS, kind_of_hook)
    found = [
        _misplaced(node, path, key, f"has no meaning on {place}") for key, place in wrong.items() if key in node.keys
    ]
    if {"mode", "modes"} <= node.keys.keys():
        found.append(_misplaced(node, path, "modes", "stands beside 'mode', want one of the two"))
    return found


def _misplaced(node: Entries, path: str, key: str, message: str) -> Problem:
    return Problem(node.keys[key].place, message, _under(path, key))


def _which_interface(node: Entries, path: str) -> list[Problem]:
    """Tell of an entry that is for no interface, or for two at once."""
    if "match" not in node.keys:
        missing = Problem(node.place, "key 'interface' is missing, or 'match'", path)
        return [] if "interface" in node.keys else [missing]
    if "interface" not in node.keys:
        return []
    message = "stands beside 'interface', which is short for `match: {name: ...}`: want one of the two"
    return [Problem(node.keys["match"].place, message, _under(path, "match"))]


def _unknown(key: str, known: list[str]) -> str:
    near = _near(key, known) or f", want one of {', '.join(known)}"
    return f"unknown key {quoted(key)}{near}"


def _near(text: str, known: list[str]) -> str:
    near = difflib.get_close_matches(text[:PROGRAM_MAX], known, n=1)
    return f", did you mean {quoted(near[0])}?" if near else ""


def _is_empty(node: Node) -> bool:
    """`attachments:` with nothing after it, as when every entry is a comment."""
    return isinstance(node, Word) and node.plain and not node.text


def _shape(node: object) -> str:
    match node:
        case Items():
            return "a list"
        case Entries():
            return "a mapping"
        case _:
            return "a word"

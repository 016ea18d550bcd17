"""YAML as configuration uses it: a tree of mappings, lists and words as written, each with its place.

A subset of YAML 1.1, checked event by event while the text is read, so that hostile input stops early: no aliases,
tags, merge keys, duplicate keys or second documents, at most MAX_DEPTH levels. Words are never guessed to be booleans,
numbers or times: `no` and `12:30:45` stay what was written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from xdploaderd.config.problems import Place, Problem, config_error, decode_text
from xdploaderd.errors import ConfigError
from xdploaderd.printable import quoted

MAX_DEPTH = 16  # collections inside each other
MAX_SIZE = 1 << 20  # bytes
MAX_NODES = 65_536  # words and collections; 4,096 attachments of usual size have 50,000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a PyYAML built without libyaml has only the slow one
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Word:
    """A scalar as written; `plain` when it stands without quotes."""

    text: str
    place: Place
    plain: bool


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: list["Node"]
    place: Place


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping; `keys` has each key as written, with its place."""

    nodes: dict[str, "Node"]
    keys: dict[str, Word]
    place: Place


Node = Word | Items | Entries


class _Mark(Protocol):
    """What both parsers say of a position; they count from 0."""

    line: int
    column: int


@dataclass(slots=True)
class _Tree:
    """The tree as far as it is read: `open` are the collections that are not closed yet, outermost first."""

    source: str
    open: list[tuple[Items | Entries, Word | None]] = field(default_factory=list)
    root: Node | None = None
    documents: int = 0
    nodes: int = 0


def parse_yaml(raw: bytes, *, source: str) -> Node | None:
    """Return the root of one YAML text, None for an empty one; raise ConfigError at the first thing it may not have."""
    if len(raw) > MAX_SIZE:
        raise ConfigError(f"{quoted(source)} has {len(raw)} bytes, at most {MAX_SIZE} are read")
    text = decode_text(raw, source=source)
    if match := _UNPRINTABLE.search(text):
        line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
        raise _refusal(Place(source, line, column), f"character U+{ord(match[0]):04X} is not allowed")
    tree = _Tree(source)
    for event in _events(text, source):
        _take(tree, event)
    return tree.root


def _events(text: str, source: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise _refusal(_place(source, mark), f"no valid YAML: {reason}") from None
    except yaml.YAMLError as error:
        raise _refusal(Place(source, 1, 1), f"no valid YAML: {quoted(str(error))}") from None


def _take(tree: _Tree, event: yaml.Event) -> None:
    place = _place(tree.source, event.start_mark)
    _check_event(tree, event, place)
    match event:
        case yaml.ScalarEvent():
            _add(tree, Word(event.value, place, plain=not event.style))
        case yaml.SequenceStartEvent():
            _open(tree, Items([], place))
        case yaml.MappingStartEvent():
            _open(tree, Entries({}, {}, place))
        case yaml.CollectionEndEvent():
            node, _ = tree.open.pop()
            _add(tree, node)
        case yaml.DocumentStartEvent():
            tree.documents += 1
            if tree.documents > 1:
                raise _refusal(place, "a second document begins, want one")


def _check_event(tree: _Tree, event: yaml.Event, place: Place) -> None:
    tree.nodes += 1
    if tree.nodes > MAX_NODES:
        raise _refusal(place, f"more than {MAX_NODES} words, lists and mappings")
    if isinstance(event, yaml.AliasEvent):
        raise _refusal(place, f"alias {quoted(f'*{event.anchor}')} is not allowed")
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        raise _refusal(place, f"anchor {quoted(f'&{event.anchor}')} is not allowed")
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise _refusal(place, f"tag {quoted(tag)} is not allowed")
    if isinstance(event, yaml.DocumentStartEvent) and (event.tags or event.version):
        raise _refusal(place, "directives are not allowed")


def _open(tree: _Tree, node: Items | Entries) -> None:
    if len(tree.open) >= MAX_DEPTH:
        raise _refusal(node.place, f"nested more than {MAX_DEPTH} levels deep")
    if tree.open:
        outer, key = tree.open[-1]
        if isinstance(outer, Entries) and key is None:
            raise _refusal(node.place, "a key must be a word")
    tree.open.append((node, None))


def _add(tree: _Tree, node: Node) -> None:
    """Put a finished node where it belongs: into the list, or as key or value of the mapping, that is open."""
    if not tree.open:
        tree.root = None if isinstance(node, Word) and node.plain and not node.text else node
        return
    outer, key = tree.open[-1]
    if isinstance(outer, Items):
        outer.nodes.append(node)
    elif key is not None:
        outer.nodes[key.text] = node
        tree.open[-1] = (outer, None)
    elif isinstance(node, Word):
        _check_key(node, outer.keys)
        outer.keys[node.text] = node
        tree.open[-1] = (outer, node)


def _check_key(key: Word, earlier: Mapping[str, Word]) -> None:
    if key.plain and key.text == "<<":
        raise _refusal(key.place, "merge keys are not allowed")
    if key.text in earlier:
        first = earlier[key.text].place
        raise _refusal(key.place, f"key {quoted(key.text)} stands already in line {first.line}, column {first.column}")


def _place(source: str, mark: _Mark | None) -> Place:
    return Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)


def _refusal(place: Place, message: str) -> ConfigError:
    return config_error([Problem(place, message)])

"""A YAML tree held against the model of xdploaderd.yaml: what is well-formed, and everything that is wrong."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from xdploaderd.config.attachment_model import AttachmentModel, FileModel
from xdploaderd.config.field_values import (
    HANDLE_MAX,
    MAX_ATTACHMENTS,
    PRIORITY_MAX,
    is_empty,
    read_interface,
    read_limit,
    read_word,
    shape_of,
    unknown_key,
)
from xdploaderd.config.problems import PROBLEM_LIMIT, Place, Problem
from xdploaderd.config.yaml_text import Entries, Items, Node, Word
from xdploaderd.hooks import AttachKind, Hook
from xdploaderd.limits import LIMIT_NAMES
from xdploaderd.printable import printable, quoted

_XDP_KEYS = ("mode", "modes")
_FILTER_KEYS = ("priority", "handle", "protocol", "classid")
_TCX_KEYS = ("order",)
_TC_KEYS = (*_FILTER_KEYS, *_TCX_KEYS)


@dataclass(frozen=True, slots=True)
class Validated:
    """The entries that are well-formed, each with its place, and all that is wrong with the rest."""

    entries: tuple[tuple[AttachmentModel, Place], ...]
    problems: tuple[Problem, ...]
    limits: Mapping[str, int] = field(default_factory=dict)
    protect: tuple[str, ...] = ()


def validate(root: Node) -> Validated:
    """Hold a YAML tree against the models."""
    if not isinstance(root, Entries):
        message = f"want a mapping with the key 'attachments', not {shape_of(root)}"
        return Validated((), (Problem(root.place, message),))
    known = list(FileModel.model_fields)
    problems = [
        Problem(key.place, unknown_key(name, known), printable(name))
        for name, key in itertools.islice(root.keys.items(), PROBLEM_LIMIT)
        if name not in known
    ]
    attachments, limits = root.nodes.get("attachments"), _validate_limits(root.nodes.get("limits"), problems)
    protect = _validate_protect(root.nodes.get("protect"), problems)
    if isinstance(attachments, Items):
        return replace(_validate_entries(attachments, problems), limits=limits, protect=protect)
    if attachments is not None and not is_empty(attachments):
        problems.append(Problem(attachments.place, f"want a list, not {shape_of(attachments)}", "attachments"))
    return Validated((), tuple(problems), limits, protect)


def _validate_protect(node: Node | None, problems: list[Problem]) -> tuple[str, ...]:
    """Return the interfaces of `protect`, and note what is wrong there."""
    if node is None or is_empty(node):
        return ()
    if not isinstance(node, Items):
        problems.append(Problem(node.place, f"want a list, not {shape_of(node)}", "protect"))
        return ()
    found = []
    for number, item in enumerate(itertools.islice(node.nodes, MAX_ATTACHMENTS)):
        try:
            found.append(read_interface(read_word(item)))
        except PydanticCustomError as error:
            problems.append(Problem(item.place, error.message(), f"protect[{number}]"))
    return tuple(found)


def _validate_limits(node: Node | None, problems: list[Problem]) -> Mapping[str, int]:
    """Return what `limits` sets, and note what is wrong there."""
    if node is None or is_empty(node):
        return {}
    if not isinstance(node, Entries):
        problems.append(Problem(node.place, f"want a mapping, not {shape_of(node)}", "limits"))
        return {}
    found: dict[str, int] = {}
    for name, value in itertools.islice(node.nodes.items(), PROBLEM_LIMIT):
        try:
            found[name] = read_limit(name, value)
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
        problems.append(Problem(node.place, f"want a mapping, not {shape_of(node)}", path))
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
            message = unknown_key(key, list(AttachmentModel.model_fields))
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

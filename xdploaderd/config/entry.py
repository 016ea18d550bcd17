"""One attachment outside of a YAML file: as the values of a request or of the state file, and written as YAML.

The keys and their rules are those of the YAML file, so that every way in is checked by the one model.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

from xdploaderd.config.attachments import AttachmentConfig, attachment_of
from xdploaderd.config.interface_match import Match
from xdploaderd.config.problems import Place
from xdploaderd.config.yaml_text import MAX_DEPTH, Entries, Items, Node, Word
from xdploaderd.errors import ConfigError
from xdploaderd.hooks import Hook
from xdploaderd.printable import quoted

_NAME_MAX = 63
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]")
_DEFAULT_NUMBER = 1  # of priority and handle


def parse_entry(values: Mapping[str, Any], *, source: str) -> AttachmentConfig:
    """Return the attachment with these keys; a text counts as a word in quotes. Raises ConfigError naming `source`."""
    return attachment_of(_node(values, Place(source, 0, 0), MAX_DEPTH))


def entry_values(config: AttachmentConfig) -> dict[str, Any]:
    """Return the keys of an attachment that are not the default, as JSON values; parse_entry() reads them."""
    given = ((field, getattr(config, field.name)) for field in fields(config))
    return {field.name: _plain(value) for field, value in given if field.default is MISSING or value != field.default}


def entry_yaml(config: AttachmentConfig) -> str:
    """Return a YAML file with that one attachment. JSON is YAML, so its quotes serve for every text."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry_values(config).items()]
    return "attachments:\n" + "".join(
        f"  {'-' if number == 0 else ' '} {line}\n" for number, line in enumerate(lines)
    )  # fmt: skip


def default_name(interface: str, hook: str, *, priority: int = 0, handle: int = 0) -> str:
    """Return IFNAME-HOOK, with priority and handle where they are not those that a filter has by default."""
    place = f"{interface.lower()}-{hook}"
    if hook != Hook.XDP and priority and (priority, handle) != (_DEFAULT_NUMBER, _DEFAULT_NUMBER):
        place += f"-{priority}-{handle}"
    return _NOT_IN_NAMES.sub("-", place)[:_NAME_MAX]


def _node(value: Any, place: Place, depth: int) -> Node:
    if depth == 0:
        raise ConfigError(f"{place}: nested more than {MAX_DEPTH} levels deep")
    match value:
        case Mapping():
            keys = {str(key): Word(str(key), place, plain=True) for key in value}
            return Entries({str(key): _node(item, place, depth - 1) for key, item in value.items()}, keys, place)
        case list() | tuple():
            return Items([_node(item, place, depth - 1) for item in value], place)
        case bool():
            return Word("true" if value else "false", place, plain=True)
        case str():
            return Word(value, place, plain=False)
        case int():
            return Word(str(value), place, plain=True)
        case _:
            raise ConfigError(f"{place}: {quoted(str(value))} is neither text, number, true or false")


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case PurePosixPath():
            return str(value)
        case (tuple(), *_):
            return dict(value)
        case tuple():
            return [_plain(item) for item in value]
        case Match():
            return dict(value.parts)
        case _:
            return value

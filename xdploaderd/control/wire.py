"""Status values as types that Varlink can describe: the same names and fields, lists for tuples, words for enums."""

import dataclasses
import typing
from enum import Enum
from typing import Any

from xdploaderd.daemon.plan.status import AttachedMap, AttachmentStatus, DaemonStatus, Orphan, PlannedAction, PlannedMap

_NAMES = {
    AttachmentStatus: "Attachment",
    Orphan: "Orphan",
    DaemonStatus: "Status",
    AttachedMap: "AttachedMap",
    PlannedMap: "Map",
    PlannedAction: "Action",
}


def _wire_annotation(annotation: Any) -> Any:
    if typing.get_origin(annotation) is tuple:
        return list[_wire_annotation(typing.get_args(annotation)[0])]  # type: ignore[misc]  # made at run time
    if annotation in _NAMES:
        return _TYPES[annotation]
    return str if isinstance(annotation, type) and issubclass(annotation, Enum) else annotation


def _wire_type(source: type) -> type:
    hints = typing.get_type_hints(source)
    fields = [(field.name, _wire_annotation(hints[field.name])) for field in dataclasses.fields(source)]
    return dataclasses.make_dataclass(_NAMES[source], fields, frozen=True, slots=True)


_TYPES: dict[Any, type] = {}
for _source in _NAMES:
    _TYPES[_source] = _wire_type(_source)

Attachment: Any = _TYPES[AttachmentStatus]
Status: Any = _TYPES[DaemonStatus]
MapOf: Any = _TYPES[AttachedMap]
Action: Any = _TYPES[PlannedAction]


def to_wire(value: Any) -> Any:
    """Return the value in its wire type."""
    if isinstance(value, tuple):
        return [to_wire(item) for item in value]
    if type(value) not in _TYPES:
        return value
    fields = (field.name for field in dataclasses.fields(value))
    return _TYPES[type(value)](**{name: to_wire(getattr(value, name)) for name in fields})

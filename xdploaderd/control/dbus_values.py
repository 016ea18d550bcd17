"""Values of D-Bus: from the fields that the service answers with to properties, and from options to what is asked."""

from collections.abc import Mapping
from typing import Any, Final

from dbus_fast import Variant

from xdploaderd.daemon.service.requests import AttachRequest
from xdploaderd.errors import UsageError
from xdploaderd.printable import printable, quoted

FD_OPTIONS: Final = ("object", "program")
_LISTS: Final = frozenset({"attachments", "orphans", "maps"})  # of things that have fields themselves
_OPTIONS: Mapping[str, type] = {"permanent": bool, "force": bool, "object": int, "program": int, "confirm": int}
_APPLY_OPTIONS: Mapping[str, type] = {"partial": bool, "confirm": int}

Properties = dict[str, Variant]


def to_properties(fields: Mapping[str, Any]) -> Properties:
    """Return JSON fields as a{sv}: s, b, u, as, and aa{sv} for attachments, orphans and maps."""
    return {name: _variant(name, value) for name, value in fields.items()}


def _variant(name: str, value: Any) -> Variant:
    match value:
        case bool():
            return Variant("b", value)
        case int():
            return Variant("u", value)
        case list() if name in _LISTS:
            return Variant("aa{sv}", [to_properties(item) for item in value])
        case list():
            return Variant("as", [printable(item) for item in value])
        case _:
            return Variant("s", printable(str(value)))


def to_plain(value: Any) -> Any:
    """Return what a variant holds, all the way down."""
    match value:
        case Variant():
            return to_plain(value.value)
        case dict():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list():
            return [to_plain(item) for item in value]
        case _:
            return value


def attach_request(entry: Mapping[str, Any], options: Mapping[str, Any]) -> AttachRequest:
    """Return what AttachObject asks for. Raises UsageError for options that it does not have."""
    for name, value in options.items():
        if type(value) is not _OPTIONS.get(name):
            raise UsageError(
                f"option {quoted(name)} is unknown or of another type, want permanent b, force b, object h, program h,"
                " confirm u"
            )
    return AttachRequest(
        entry=entry,
        permanent=options.get("permanent", False),
        force=options.get("force", False),
        descriptor=options.get("object"),
        program=options.get("program"),
        confirm=options.get("confirm", 0),
    )


def apply_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Apply asks for. Raises UsageError for options that it does not have."""
    for name, value in options.items():
        if type(value) is not _APPLY_OPTIONS.get(name):
            raise UsageError(f"option {quoted(name)} is unknown or of another type, want partial b, confirm u")
    return options

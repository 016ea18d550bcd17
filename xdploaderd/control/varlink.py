"""The Varlink names, frames and errors that server and client share (https://varlink.org/Method-Call)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xdploaderd.errors import LoaderError, UnreachableError, UsageError
from xdploaderd.printable import printable

INTERFACE = "org.xdploaderd.Loader"
DEFAULT_SOCKET = "/run/xdploaderd/control"
SOCKET_VARIABLE = "XDPLOADERD_SOCKET"
MAX_CALL_BYTES = 64 * 1024
MAX_REPLY_BYTES = 16 * 1024 * 1024  # 1,000 attachments are about 1 MiB
MAX_MESSAGE = 16_384  # characters of an error's message; what is cut off is counted

# The fields an error may have besides its message, by code; a code that is not here has none.
ERROR_FIELDS: Mapping[str, Mapping[str, type]] = {
    "KernelRefused": {"operation": str, "errno": str},
    "VerifierRejected": {"operation": str, "errno": str, "log": list[str]},
    "NotSupportedByKernel": {"feature": str, "since": str},
    "OverrideRefused": {"near": list[str]},
    "PinMismatch": {"path": str, "differences": list[str]},
    "AttachFailed": {"errno": str, "extack": str, "qdisc": str},
    "NoSuchInterface": {"errno": str, "extack": str, "interface": str, "near": list[str]},
    "Locked": {"pid": str},
    "HookBusy": {"errno": str, "extack": str, "prog_id": int, "prog_name": str},
    "LinkChanged": {"errno": str, "extack": str, "prog_id": int},
    "LinkGone": {"errno": str, "extack": str},
    "StaleOrder": {"errno": str, "extack": str},
}


def error_classes(base: type[LoaderError] = LoaderError) -> Iterator[type[LoaderError]]:
    """Return LoaderError and every class below it."""
    yield base
    for child in base.__subclasses__():
        yield from error_classes(child)


def encode_frame(message: Mapping[str, Any]) -> bytes:
    """Return one message with the NUL that ends it."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\0"


def error_name(error: LoaderError) -> str:
    """Return the qualified name of an error."""
    return f"{INTERFACE}.{error.code}"


def error_parameters(error: LoaderError) -> dict[str, Any]:
    """Return an error's message, with its place, and its fields."""
    return {"message": str(error), **error.fields}


def error_from_reply(name: str, parameters: Mapping[str, Any]) -> LoaderError:
    """Return the error that an error reply stands for, of the class which has that code."""
    interface, _, code = name.rpartition(".")
    if interface != INTERFACE:  # org.varlink.service, or asyncvarlink's own
        details = ", ".join(f"{key} '{value}'" for key, value in parameters.items())
        return UsageError(_one_line(f"the daemon does not take this call: {code} {details}".rstrip()))
    fields = dict(parameters)
    message = fields.pop("message", name)
    found = next((cls for cls in error_classes() if cls.code == code), LoaderError)
    error = found.__new__(found)  # the constructors take apart what is put together here
    LoaderError.__init__(error, _one_line(str(message)), fields=fields)
    return error


def _one_line(message: str) -> str:
    if len(message) > MAX_MESSAGE:
        return f"{printable(message[:MAX_MESSAGE])}... ({len(message)} characters)"
    return printable(message)


def parse_reply(frame: bytes) -> Mapping[str, Any]:
    """Return the parameters of a reply (without its NUL); raises the error it carries, or UnreachableError."""
    try:
        reply = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise UnreachableError("what answers on the control socket does not speak Varlink") from error
    parameters = (reply.get("parameters") or {}) if isinstance(reply, dict) else None
    if not isinstance(parameters, dict):
        raise UnreachableError("what answers on the control socket does not speak Varlink")
    if name := reply.get("error"):
        raise error_from_reply(str(name), parameters)
    return parameters

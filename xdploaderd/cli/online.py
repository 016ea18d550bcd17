"""Verbs that ask the daemon over its control socket; standard library only, so that they start fast."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line, print_table, text_of
from xdploaderd.control.client import ControlClient
from xdploaderd.errors import FileError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

DEFAULT_SOCKET = "/run/xdploaderd/control"
SOCKET_VARIABLE = "XDPLOADERD_SOCKET"

_LIST_HEADER = ("NAME", "INTERFACE", "HOOK", "STATE", "MODE", "PROGRAM", "ID", "DIALECT", "OBJECT")
_STATUS_HEADER = ("NAME", "INTERFACE", "HOOK", "STATE", "ORIGIN", "PROGRAM", "ID", "PRIORITY", "HANDLE")
_WORDS = (
    *("name", "interface", "hook", "mode", "attach", "order", "program", "protocol", "classid"),
    *("on_foreign", "on_mismatch", "maps"),
)


def status(args: argparse.Namespace) -> int:
    """Show the daemon and its attachments; exit 3 when something is not as wanted."""
    reply = call(args, "Status")["status"]
    if args.json:
        print_json(reply)
    else:
        _print_status(reply)
    return EXIT_DEGRADED if reply["degraded"] else 0


def list_attachments(args: argparse.Namespace) -> int:
    """Show every configured attachment with its program."""
    attachments = call(args, "List")["attachments"]
    if args.json:
        print_json(attachments)
        return 0
    print_table(_LIST_HEADER, [_list_row(attachment) for attachment in attachments])
    _print_reasons(attachments)
    return 0


def attach(args: argparse.Namespace) -> int:
    """Attach what is configured under a name, after `detach` or a failure; or a program of an object file."""
    if args.object:
        return _print_attachment(args, attach_object(args)["attachment"])
    return _print_attachment(args, call(args, "Attach", {"name": args.name, **_trial(args)})["attachment"])


def attach_object(args: argparse.Namespace) -> Mapping[str, Any]:
    """Send an object file's descriptor, or its path, with the keys of its entry."""
    entry = entry_of(args)
    parameters = {"entry": entry, "permanent": args.permanent, "force": args.force, **_trial(args)}
    if args.by_path:
        return call(args, "AttachObject", parameters)
    try:
        fd = os.open(args.object, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"object '{args.object}' cannot be read: {reason}", fields={"path": args.object}) from error
    try:
        return call(args, "AttachObject", {**parameters, "descriptor": 0}, descriptors=(fd,))
    finally:
        os.close(fd)


def entry_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of an entry that the options of `attach` give; the daemon checks them."""
    entry: dict[str, Any] = {"object": os.path.abspath(args.object)}
    entry |= {key: value for key in _WORDS if (value := getattr(args, key))}
    entry |= {key: _number(key, value) for key in ("priority", "handle") if (value := getattr(args, key))}
    if args.match:
        entry["match"] = _pairs("--match", args.match, form="KEY=VALUE")
    if args.modes:
        entry["modes"] = args.modes.split(",")
    if args.allow_gap:
        entry["allow_gap"] = True
    if args.globals:
        entry["globals"] = _pairs("--global", args.globals)
    if args.max_entries:
        sizes = _pairs("--max-entries", args.max_entries)
        entry["max_entries"] = {name: _number("max-entries", size) for name, size in sizes.items()}
    if args.share:
        entry["share"] = _pairs("--share", args.share)
    if args.no_map:
        entry["no_maps"] = list(args.no_map)
    if args.keep_map:
        entry["keep_maps"] = list(args.keep_map)
    if args.map_init:
        files = _pairs("--map-init", args.map_init)
        entry["map_init"] = {name: os.path.abspath(file) for name, file in files.items()}
    return entry


def _number(option: str, word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise UsageError(f"--{option} '{word}' is no whole number") from None


def _pairs(option: str, words: Sequence[str], *, form: str = "NAME=VALUE") -> dict[str, str]:
    split = [word.partition("=") for word in words]
    if wrong := [name for name, equals, _ in split if not equals or not name]:
        raise UsageError(f"{option} '{wrong[0]}' is not of the form {form}")
    return {name: value for name, _, value in split}


def detach(args: argparse.Namespace) -> int:
    """Detach an attachment until `attach` or the next boot; forget a runtime entry."""
    parameters = {"name": args.name, **({"permanent": True} if args.permanent else {}), **_trial(args)}
    return _print_attachment(args, call(args, "Detach", parameters)["attachment"])


def reload(args: argparse.Namespace) -> int:
    """Let the daemon read its configuration again; exit 3 when something is not as wanted afterwards."""
    if getattr(args, "rollback", False):
        if args.confirm:
            raise UsageError("--rollback and --confirm contradict each other: one ends what the other begins")
        return _tell_status(args, call(args, "RollBack")["status"])
    given = {key: value for key in ("partial", "confirm") if (value := getattr(args, key, None))}
    return _tell_status(args, call(args, "Reload", given)["status"])


def confirm(args: argparse.Namespace) -> int:
    """Let the configuration that waits to be confirmed stay in force."""
    return _tell_status(args, call(args, "Confirm")["status"])


def _tell_status(args: argparse.Namespace, reply: Mapping[str, Any]) -> int:
    if args.json:
        print_json(reply)
    else:
        _print_status(reply)
    return EXIT_DEGRADED if reply["degraded"] else 0


def plan(args: argparse.Namespace) -> int:
    """Show what a reload would do."""
    actions = call(args, "Plan")["actions"]
    if args.json:
        print_json(actions)
        return 0
    from xdploaderd.cli.planned import print_plan

    print_plan(actions)
    return 0


def show_core_log(args: argparse.Namespace) -> int:
    """Show how the CO-RE relocations of an attachment's program came about."""
    log = call(args, "CoreLog", {"name": args.name})["core_log"]
    if args.json:
        print_json(log)
        return 0
    from xdploaderd.obj.core_record import core_log_lines

    for line in core_log_lines(log):
        print_line(line)
    if not log:
        print_line(f"{args.name}: the program has no CO-RE relocations")
    return 0


def call(
    args: argparse.Namespace,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    descriptors: Sequence[int] = (),
) -> Mapping[str, Any]:
    """Call the daemon that the command line names; see ControlClient.call."""
    return client_of(args).call(method, parameters or {}, descriptors=descriptors)


def client_of(args: argparse.Namespace) -> ControlClient:
    """Return the way to the daemon that the command line names."""
    return ControlClient(Path(args.socket or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET))


def _print_status(reply: Mapping[str, Any]) -> None:
    attachments = reply["attachments"]
    verdict = "degraded" if reply["degraded"] else "everything as wanted"
    print_line(f"xdploaderd {reply['version']}, process {reply['pid']}: {verdict}")
    print_line(f"configuration: {text_of(reply, 'config') or 'none'}")
    print_line(f"pinning:       {text_of(reply, 'pinning') or 'built-in defaults'}")
    if reply["config_error"]:
        print_line(f"configuration refused, that of {reply['applied']} stays in force: {reply['config_error']}")
    for lost in reply.get("lost", ()):
        print_line(f"lost: {lost}")
    _print_orphans(reply.get("orphans", ()))
    if reply.get("confirm_seconds"):
        print_line(f"rolled back in {reply['confirm_seconds']} s unless confirmed: xdploaderctl confirm")
    if not attachments:
        print_line("no attachments are configured")
        return
    keys = ("name", "interface", "hook", "state", "origin", "program", "prog_id", "priority", "handle")
    print_line("")
    print_table(_STATUS_HEADER, [[text_of(attachment, key) for key in keys] for attachment in attachments])
    _print_reasons(attachments)


def _trial(args: argparse.Namespace) -> dict[str, int]:
    return {"confirm": args.confirm} if getattr(args, "confirm", 0) else {}


def _print_attachment(args: argparse.Namespace, attachment: Mapping[str, Any]) -> int:
    if args.json:
        print_json(attachment)
    else:
        program = f", program {attachment['prog_id']} ({attachment['prog_name']})" if attachment["prog_id"] else ""
        place = f"{attachment['hook']} of {attachment['interface']}" if attachment["interface"] else attachment["hook"]
        print_line(f"{attachment['name']}: {attachment['state']}, {place}{program}")
        _print_reasons([attachment])
    return 0 if attachment["state"] in ("attached", "detached", "idle") else EXIT_DEGRADED


def _print_reasons(attachments: Sequence[Mapping[str, Any]]) -> None:
    for attachment in attachments:
        if attachment["reason"]:
            code = f"{attachment['error_code']}: " if attachment["error_code"] else ""
            print_line(f"{attachment['name']}: {code}{attachment['reason']}{_next_try(attachment)}")
        if attachment["note"]:
            print_line(f"{attachment['name']}: {attachment['note']}")
        if len(attachment["chain"]) > 1:
            on = f"{attachment['position']} of {len(attachment['chain'])} on {attachment['hook']}"
            print_line(f"{attachment['name']}: {on}: {', '.join(attachment['chain'])}")


def _next_try(attachment: Mapping[str, Any]) -> str:
    """Return when what failed is tried again; the daemon tells it by the clock that all processes share."""
    retry_at = attachment.get("retry_at", 0)
    return f"; next try in {max(0, round(retry_at - time.monotonic()))} s" if retry_at else ""


def orphans(args: argparse.Namespace) -> int:
    """Show what is pinned as the daemon's own and no entry wants, or sweep it."""
    if args.sweep:
        reply = call(args, "Sweep", {"name": args.name} if args.name else {})["status"]
    else:
        reply = call(args, "Status")["status"]
    found = [orphan for orphan in reply["orphans"] if args.name in ("", orphan["name"])]
    if args.json:
        print_json(found)
    elif found:
        _print_orphans(found)
    else:
        print_line("no orphans")
    return 0


def _print_orphans(found: Sequence[Mapping[str, Any]]) -> None:
    for orphan in found:
        where = f"on {', '.join(orphan['places'])}" if orphan["places"] else "on no interface of this network namespace"
        left = f"swept in {max(0, round(orphan['swept_at'] - time.monotonic()))} s"
        end = f"not swept, {reason}" if (reason := orphan.get("reason")) else left
        program = f"program {orphan['prog_id']} ({orphan['prog_name']})" if orphan["prog_id"] else "no program"
        print_line(f"orphan {orphan['name']}: {program}, {where}; {end}")


def _list_row(attachment: Mapping[str, Any]) -> tuple[str, ...]:
    mode = text_of(attachment, "actual_mode") or text_of(attachment, "mode")
    keys = ("name", "interface", "hook", "state")
    last = ("program", "prog_id", "dialect", "object")
    shown_mode = mode if attachment["hook"] == "xdp" else ""
    return (*(text_of(attachment, k) for k in keys), shown_mode, *(text_of(attachment, k) for k in last))

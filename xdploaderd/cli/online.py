"""Verbs that ask the daemon over its control socket; standard library only, so that they start fast."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line, print_table, text_of
from xdploaderd.control.client import ControlClient

DEFAULT_SOCKET = "/run/xdploaderd/control"
SOCKET_VARIABLE = "XDPLOADERD_SOCKET"

_LIST_HEADER = ("NAME", "INTERFACE", "HOOK", "STATE", "MODE", "PROGRAM", "ID", "DIALECT", "OBJECT")
_STATUS_HEADER = ("NAME", "INTERFACE", "HOOK", "STATE", "PROGRAM", "ID", "PRIORITY", "HANDLE")
_PLAN_HEADER = ("ACTION", "NAME", "INTERFACE", "HOOK", "REASON")


def status(args: argparse.Namespace) -> int:
    """Show the daemon and its attachments; exit 3 when something is not as wanted."""
    reply = _call(args, "Status")["status"]
    if args.json:
        print_json(reply)
    else:
        _print_status(reply)
    return EXIT_DEGRADED if reply["degraded"] else 0


def list_attachments(args: argparse.Namespace) -> int:
    """Show every configured attachment with its program."""
    attachments = _call(args, "List")["attachments"]
    if args.json:
        print_json(attachments)
        return 0
    print_table(_LIST_HEADER, [_list_row(attachment) for attachment in attachments])
    _print_reasons(attachments)
    return 0


def attach(args: argparse.Namespace) -> int:
    """Attach what is configured under a name, after `detach` or a failure."""
    return _print_attachment(args, _call(args, "Attach", {"name": args.name})["attachment"])


def detach(args: argparse.Namespace) -> int:
    """Detach an attachment until `attach` or the next boot."""
    return _print_attachment(args, _call(args, "Detach", {"name": args.name})["attachment"])


def reload(args: argparse.Namespace) -> int:
    """Let the daemon read its configuration again; exit 3 when something is not as wanted afterwards."""
    reply = _call(args, "Reload")["status"]
    if args.json:
        print_json(reply)
    else:
        _print_status(reply)
    return EXIT_DEGRADED if reply["degraded"] else 0


def plan(args: argparse.Namespace) -> int:
    """Show what a reload would do."""
    actions = _call(args, "Plan")["actions"]
    if args.json:
        print_json(actions)
    elif actions:
        rows = [[text_of(a, key) for key in ("action", "name", "interface", "hook", "reason")] for a in actions]
        print_table(_PLAN_HEADER, rows)
    else:
        print_line("a reload would change nothing")
    return 0


def _call(args: argparse.Namespace, method: str, parameters: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    path = args.socket or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET
    return ControlClient(Path(path)).call(method, parameters or {})


def _print_status(reply: Mapping[str, Any]) -> None:
    attachments = reply["attachments"]
    verdict = "degraded" if reply["degraded"] else "everything as wanted"
    print_line(f"xdploaderd {reply['version']}, process {reply['pid']}: {verdict}")
    print_line(f"configuration: {text_of(reply, 'config') or 'none'}")
    print_line(f"pinning:       {text_of(reply, 'pinning') or 'built-in defaults'}")
    if reply["config_error"]:
        print_line(f"configuration refused, the last good one holds: {reply['config_error']}")
    if not attachments:
        print_line("no attachments are configured")
        return
    keys = ("name", "interface", "hook", "state", "program", "prog_id", "priority", "handle")
    print_line("")
    print_table(_STATUS_HEADER, [[text_of(attachment, key) for key in keys] for attachment in attachments])
    _print_reasons(attachments)


def _print_attachment(args: argparse.Namespace, attachment: Mapping[str, Any]) -> int:
    if args.json:
        print_json(attachment)
    else:
        program = f", program {attachment['prog_id']} ({attachment['prog_name']})" if attachment["prog_id"] else ""
        place = f"{attachment['hook']} of {attachment['interface']}"
        print_line(f"{attachment['name']}: {attachment['state']}, {place}{program}")
        _print_reasons([attachment])
    return 0 if attachment["state"] in ("attached", "detached") else EXIT_DEGRADED


def _print_reasons(attachments: Sequence[Mapping[str, Any]]) -> None:
    for attachment in attachments:
        if attachment["reason"]:
            code = f"{attachment['error_code']}: " if attachment["error_code"] else ""
            print_line(f"{attachment['name']}: {code}{attachment['reason']}")


def _list_row(attachment: Mapping[str, Any]) -> tuple[str, ...]:
    mode = text_of(attachment, "actual_mode") or text_of(attachment, "mode")
    keys = ("name", "interface", "hook", "state")
    last = ("program", "prog_id", "dialect", "object")
    shown_mode = mode if attachment["hook"] == "xdp" else ""
    return (*(text_of(attachment, k) for k in keys), shown_mode, *(text_of(attachment, k) for k in last))

"""Verbs that follow the attachments: until they are as wanted, or until they are interrupted."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xdploaderd.cli.online import DEFAULT_SOCKET, SOCKET_VARIABLE
from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line, print_note, print_table, text_of
from xdploaderd.control.client import ControlClient
from xdploaderd.errors import UnreachableError
from xdploaderd.terminal import write_out

Attachment = Mapping[str, Any]

AGAIN_SECONDS = 0.2  # until a daemon that does not answer is asked again
ANSWER_SECONDS = 2.0  # that a daemon has to tell what is missing when the time is over
_AS_WANTED = ("attached", "detached")
_CLEAR = "\x1b[H\x1b[J"  # ECMA-48: cursor home, erase to the end
_HEADER = ("NAME", "INTERFACE", "HOOK", "STATE", "PROGRAM", "ID", "REASON")
_KEYS = ("name", "interface", "hook", "state", "program", "prog_id", "reason")


def wait(args: argparse.Namespace) -> int:
    """Wait until the attachments are as wanted; exit 3 and tell what is missing when the time is over."""
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    seen: dict[str, Attachment] = {}
    while True:
        heard = False
        try:
            for reply in _client(args).stream("Monitor", deadline=deadline):
                heard = True
                _update(seen, reply["attachments"])
                if not missing(seen.values(), args.names):
                    return 0
        except TimeoutError:
            return _tell_missing(args, seen if heard else _listed(args))
        except UnreachableError:
            if deadline is not None and time.monotonic() + AGAIN_SECONDS > deadline:
                raise
        time.sleep(AGAIN_SECONDS)
        seen.clear()


def missing(attachments: Iterable[Attachment], names: Sequence[str]) -> dict[str, str]:
    """Return what is not as wanted, by name, and why; an entry that is named must be for an interface at least."""
    found: dict[str, str] = {}
    everything = tuple(attachments)
    for name in names:
        parts = [a for a in everything if name in (a["name"], a["entry"])]
        found |= {a["name"]: _why(a) for a in parts if a["state"] not in _AS_WANTED}
        if not parts:
            found[name] = "there is no attachment of that name"
    if not names:
        found = {a["name"]: _why(a) for a in everything if a["state"] not in (*_AS_WANTED, "idle")}
    return found


def monitor(args: argparse.Namespace) -> int:
    """Show the attachments and each change of them until interrupted."""
    seen: dict[str, Attachment] = {}
    live = sys.stdout.isatty() and not args.json
    try:
        for reply in _client(args).stream("Monitor"):
            _update(seen, reply["attachments"])
            if live:
                _draw(seen)
            else:
                _print_changes(reply["attachments"], as_json=args.json)
    except KeyboardInterrupt:
        return 0
    return 0


def _client(args: argparse.Namespace) -> ControlClient:
    return ControlClient(_socket(args))


def _socket(args: argparse.Namespace) -> Path:
    return Path(args.socket or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)


def _listed(args: argparse.Namespace) -> dict[str, Attachment]:
    """Return all attachments, when the time was over before anything was heard of them."""
    reply = ControlClient(_socket(args), timeout=ANSWER_SECONDS).call("List")
    return {attachment["name"]: attachment for attachment in reply["attachments"]}


def _update(seen: dict[str, Attachment], changed: Sequence[Attachment]) -> None:
    for attachment in changed:
        if attachment["state"] == "gone":
            seen.pop(attachment["name"], None)
        else:
            seen[attachment["name"]] = attachment


def _why(attachment: Attachment) -> str:
    reason = text_of(attachment, "reason")
    return f"{attachment['state']}: {reason}" if reason else str(attachment["state"])


def _tell_missing(args: argparse.Namespace, seen: Mapping[str, Attachment]) -> int:
    left = missing(seen.values(), args.names)
    if not left:
        return 0
    if args.json:
        print_json({"missing": left})
    else:
        print_note(f"not as wanted after {args.timeout:g} s:")
        for name, reason in left.items():
            print_note(f"{name}: {reason}")
    return EXIT_DEGRADED


def _draw(seen: Mapping[str, Attachment]) -> None:
    sys.stdout.write(_CLEAR)
    print_line(f"{time.strftime('%H:%M:%S')}  {len(seen)} attachments, Ctrl-C ends")
    rows = sorted(seen.values(), key=lambda attachment: str(attachment["name"]))
    print_table(_HEADER, [[text_of(attachment, key) for key in _KEYS] for attachment in rows])


def _print_changes(changed: Sequence[Attachment], *, as_json: bool) -> None:
    for attachment in changed:
        if as_json:
            write_out(json.dumps(attachment, ensure_ascii=False))
        else:
            print_line(f"{time.strftime('%H:%M:%S')} {attachment['name']}: {_why(attachment)}")

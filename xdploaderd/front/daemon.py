"""Programs of `ip` and `tc` given to the daemon, which keeps them attached and shows them in its status.

The object goes to the daemon as an open file: as with `ip`, it is the file of this moment that runs. Programs are for
the daemon's network namespace; in another one commands act directly.
"""

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from xdploaderd.control.client import DEFAULT_SOCKET, SOCKET_VARIABLE, ControlClient
from xdploaderd.daemon.wanted.object_file import open_named, read_open_object
from xdploaderd.errors import AttachError, NotAuthorizedError, PinError, UnreachableError
from xdploaderd.front.bpf_root import find_root, make_hierarchy
from xdploaderd.front.bpfspec import BpfMode, BpfSpec, object_path
from xdploaderd.front.ip_words import XdpClause
from xdploaderd.front.links import set_xdp
from xdploaderd.front.load import Say, chosen_program
from xdploaderd.front.protect import configured_protection, refuse_protected
from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.info import Interface
from xdploaderd.load.pinning_files import read_pinning
from xdploaderd.net.door import NOTHING
from xdploaderd.obj.open import open_object
from xdploaderd.printable import quoted

_NAMESPACE = "/proc/{}/ns/net"


def find_daemon(socket: str = "", environ: Mapping[str, str] = os.environ) -> ControlClient | None:
    """Return the daemon of this network namespace, None where none answers.

    One that is named must answer: raises UnreachableError, NotAuthorizedError.
    """
    named = socket or environ.get(SOCKET_VARIABLE, "")
    client = ControlClient(Path(named or DEFAULT_SOCKET))
    try:
        pid = client.call("Status")["status"]["pid"]
    except (UnreachableError, NotAuthorizedError):
        if named:
            raise
        return None
    return client if _namespace_of(str(pid)) == _namespace_of("self") else None


def check_direct(interface: Interface, socket: str, *, client: ControlClient | None = None) -> None:
    """Raise UsageError where the interface may not be changed beside the daemon.

    The daemon says which those are; where none answers, the configuration, which is for the first process's namespace.
    """
    if client is None:
        with suppress(UnreachableError, NotAuthorizedError):
            client = find_daemon(socket)
    if client is not None:
        refuse_protected(interface, frozenset(client.call("Status")["status"]["protect"]))
    elif _namespace_of("1") in ("", _namespace_of("self")):
        refuse_protected(interface, configured_protection())


def _namespace_of(process: str) -> str:
    try:
        return os.readlink(_NAMESPACE.format(process))
    except OSError:  # of a process that is not ours to look at
        return ""


def takes(clause: XdpClause) -> bool:
    """Tell whether the daemon can do what a clause asks: it attaches from objects, not from pins."""
    return clause.spec is None or clause.spec.mode is BpfMode.OBJECT


def carry_out(client: ControlClient, interface: Interface, clause: XdpClause, *, force: bool, say: Say) -> None:
    """Attach or detach by the daemon, with `ip`'s meaning of force. Raises LoaderError as the daemon does."""
    if clause.spec is None:
        _detach(client, interface, clause.mode, force=force)
    else:
        _attach(client, interface, clause.spec, clause.mode, force=force, say=say)


def _attach(
    client: ControlClient, interface: Interface, spec: BpfSpec, mode: XdpMode, *, force: bool, say: Say
) -> None:
    if interface.xdp and not force:
        text = f"xdp hook of {quoted(interface.name)}: a program is attached already, want -force to replace it"
        raise AttachError(text, errno=errno.EEXIST)
    entry = {"interface": interface.name, "hook": Hook.XDP, "mode": mode}
    hand_over(client, entry, spec, force=force, say=say)


def hand_over(client: ControlClient, place: Mapping[str, Any], spec: BpfSpec, *, force: bool, say: Say) -> None:
    """Let the daemon attach the program of an object; `place` has the keys of an attachment but object and program.

    Raises LoaderError as the daemon does, FileError for an object that cannot be read.
    """
    path = object_path(spec)
    what = f"object {quoted(str(path))}"
    with ExitStack() as stack:
        object_fd = open_named(path, what)  # once: what the program is chosen from is what the daemon gets
        stack.callback(os.close, object_fd)
        program = chosen_program(open_object(read_open_object(object_fd, what=what), name=path.name), spec)
        entry = {**place, "object": str(path), "program": program}
        made = stack.enter_context(ExitStack())
        with suppress(PinError):  # the daemon says what it cannot pin
            make_hierarchy(find_root(read_pinning().root, os.environ), made)
        parameters = {"entry": entry, "force": force, "descriptor": 0}
        reply = client.call("AttachObject", parameters, descriptors=(object_fd,))
        made.pop_all()
    if spec.verbose:
        _say_attachment(reply["attachment"], say)


def _say_attachment(attachment: Mapping[str, Any], say: Say) -> None:
    say(f"attachment {quoted(attachment['name'])}: {attachment['dialect']}, {attachment['why']}")
    say(f"prog {quoted(attachment['program'])}: id {attachment['prog_id']}, tag {attachment['prog_tag']}")


def _detach(client: ControlClient, interface: Interface, mode: XdpMode, *, force: bool) -> None:
    """Let the daemon take off what it holds there in that mode; what it does not hold is taken off directly."""
    held = [
        attachment["name"]
        for attachment in client.call("List")["attachments"]
        if (attachment["interface"], attachment["hook"]) == (interface.name, Hook.XDP)
        and attachment["prog_id"]
        and mode in (XdpMode.UNSPECIFIED, attachment["actual_mode"])
    ]
    for name in held:
        client.call("Detach", {"name": name})
    if not held:
        check_direct(interface, "", client=client)
        set_xdp(interface, NOTHING, mode, force=force)

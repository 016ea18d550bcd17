"""The verbs that ask the daemon: their options."""

from __future__ import annotations

from xdploaderd.cli import texts
from xdploaderd.cli.plain import ONLINE, lazy
from xdploaderd.cli.shared_options import add_confirm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xdploaderd.cli.declared import Verbs

_PLAIN_ONLINE = {
    "status": "Show whether everything is as wanted. Exit 3 when something is not.",
    "list": "List the attachments with their programs.",
    "plan": "Show what a reload would do, and why. Nothing is changed.",
}
_APPLY = """\
Read the configuration again and do what it wants, as one change. Every object is prepared and every program loaded
before the first one is attached; where anything fails, all stays or becomes as it was.
"""
_CONFIRM = """\
Let what `apply`, `attach` or `detach` did with --confirm stay in force. Without this it is rolled back when its time is
over.
"""


def plain_online(verbs: Verbs, name: str) -> None:
    verbs.add(name, lazy("online", ONLINE[name]), _PLAIN_ONLINE[name], online=True)


def apply_verb(verbs: Verbs, name: str) -> None:
    parser = verbs.add(name, lazy("online", "reload"), _APPLY, online=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--partial", action="store_true", help="every entry by itself: bad ones stop no other")
    if name == "apply":
        text = "roll back now what `apply`, `attach` or `detach` did with --confirm"
        how.add_argument("--rollback", action="store_true", help=text)
    add_confirm(parser)


def confirm_verb(verbs: Verbs, name: str) -> None:
    verbs.add(name, lazy("online", "confirm"), _CONFIRM, online=True)


def wait_verb(verbs: Verbs, name: str) -> None:
    wait = verbs.add(name, lazy("watch", "wait"), texts.WAIT, epilog=texts.WAIT_EPILOG, online=True)
    wait.add_argument("names", metavar="NAME", nargs="*", help="by default all that the daemon has")
    wait.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="give up after that; by default never")


def orphans_verb(verbs: Verbs, name: str) -> None:
    orphans = verbs.add(name, lazy("online", "orphans"), texts.ORPHANS, online=True)
    orphans.add_argument("name", metavar="NAME", nargs="?", default="", help="this one alone")
    orphans.add_argument("--sweep", action="store_true", help="detach and unpin now")


def monitor_verb(verbs: Verbs, name: str) -> None:
    verbs.add(name, lazy("watch", "monitor"), texts.MONITOR, epilog=texts.MONITOR_EPILOG, online=True)


def detach_verb(verbs: Verbs, name: str) -> None:
    detach = verbs.add(name, lazy("online", "detach"), texts.DETACH, online=True)
    detach.add_argument("name", metavar="NAME")
    detach.add_argument("--permanent", action="store_true", help="remove the entry of `attach --permanent` for good")
    add_confirm(detach)


def core_log_verb(verbs: Verbs, name: str) -> None:
    core_log = verbs.add(
        name, lazy("online", "show_core_log"), texts.CORE_LOG, epilog=texts.CORE_LOG_EPILOG, online=True
    )
    core_log.add_argument("name", metavar="NAME")


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"'{word}' is no number of seconds")
    return seconds

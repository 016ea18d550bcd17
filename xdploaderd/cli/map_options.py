"""The actions of `xdploaderctl map`: help texts and arguments."""

from __future__ import annotations

from xdploaderd.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Final

MAP: Final = "Look into a map, or change what is in it."
MAP_EPILOG: Final = """\
A map is named by the path of its pin, or by an attachment of the daemon and its name (or id) there:
  xdploaderctl map show edge
  xdploaderctl map dump /sys/fs/bpf/filter/maps/blocked --json > blocked.json
  xdploaderctl map load edge blocked blocked.json
  xdploaderctl map set edge limits '{"port": 53, "protocol": "udp"}' '{"limit": 1000}'
  xdploaderctl map get edge limits '{"port": 53, "protocol": "udp"}'
"""
_KEYS = """
KEY and VALUE are JSON, read as in a file of `map load`: by the map's BTF where it has any, else hexadecimal digits or a
number; what is no JSON is text, such as PASS or hex:0a000001.
"""
_SHOW = """\
Show the maps of an attachment with their ids and pins, or one map. NAME is an attachment.
"""
_DUMP = """\
Print the entries of a map, decoded by its BTF where it has any, else as hex bytes. A per-CPU map shows one value for
each CPU.
"""
_LOAD = """\
Set the entries of a JSON file in a map. The file has what `map dump --json` or `bpftool -j map dump` print. All of it
is checked before the first entry is set; when the kernel then refuses one, those set before are as they were. Entries
that are not in the file stay.
"""
_GET = "Print one entry of a map. Exit 66 when there is none." + _KEYS
_SET = "Set one entry of a map. Of a per-CPU map every CPU gets the value." + _KEYS
_DELETE = "Remove one entry of a map. Exit 66 when there is none." + _KEYS
MAP_ACTIONS: Final[Mapping[str, str]] = {
    "show": _SHOW,
    "dump": _DUMP,
    "get": _GET,
    "set": _SET,
    "delete": _DELETE,
    "load": _LOAD,
}
_FOLLOWING: Final[Mapping[str, tuple[str, ...]]] = {
    "get": ("KEY",),
    "set": ("KEY", "VALUE"),
    "delete": ("KEY",),
    "load": ("FILE",),
}


def function_of(action: str) -> str:
    """Return the function of cli/maps.py that carries an action out; `set` is a type's name."""
    return "set_" if action == "set" else action


def add_map_arguments(action: str, parser: argparse.ArgumentParser) -> None:
    """Add what an action takes; which map is told by the number of words."""
    following = _FOLLOWING.get(action, ())
    which = "PIN|NAME [MAP]" if action == "show" else "PIN|NAME MAP"
    parser.usage = " ".join(("%(prog)s [-h] [--json] [--verbose] [--socket PATH]", which, *following))
    if action == "load":
        parser.usage += " [--replace]"
    help_text = f"path of a pinned map, or an attachment and its map{''.join(f', {word}' for word in following)}"
    parser.add_argument("words", metavar="WORD", nargs="+", help=help_text)
    parser.set_defaults(check=lambda args: _split(action, args))
    if action == "load":
        parser.add_argument("--replace", action="store_true", help="remove the entries that are not in the file")


def _split(action: str, args: argparse.Namespace) -> None:
    """Tell a pin, or an attachment with its map, from the words behind it."""
    following = _FOLLOWING.get(action, ())
    count = len(args.words) - len(following)
    which, args.following = args.words[:count], args.words[count:]
    args.pin = args.attachment = args.map = ""
    if count == 1 and action == "show" and "/" not in which[0]:
        args.attachment = which[0]
    elif count == 1:
        args.pin = which[0]
    elif count == 2:  # noqa: PLR2004 - an attachment and a map
        args.attachment, args.map = which
    else:
        wanted = " ".join(("a map, PIN or NAME MAP", *(f"and {word}" for word in following)))
        raise UsageError(f"map {action} takes {wanted}, not {len(args.words)} words")

"""What `plan` prints of the daemon's answer: the actions, the maps of each, and whether a reload would be refused."""

from __future__ import annotations

from xdploaderd.cli.output import print_line, print_table, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

_ACTIONS = ("ACTION", "NAME", "INTERFACE", "HOOK", "REASON")
_MAPS = ("MAP", "OF", "ACTION", "ENTRIES", "LOST", "PIN", "REASON")


def print_plan(actions: Sequence[Mapping[str, Any]]) -> None:
    """Print a plan."""
    if not actions:
        print_line("a reload would change nothing")
        return
    print_table(
        _ACTIONS, [[text_of(a, key) for key in ("action", "name", "interface", "hook", "reason")] for a in actions]
    )
    if maps := list(_map_rows(actions)):
        print_line("")
        print_table(_MAPS, maps)
    if blocking := [action["name"] for action in actions if action.get("blocks")]:
        print_line("")
        print_line(f"a reload would be refused for {', '.join(blocking)} and change nothing, but with --partial")
    if protected := sorted({action["interface"] for action in actions if action.get("confirm")}):
        print_line("")
        print_line(f"protected: {', '.join(protected)}; this takes `xdploaderctl apply --confirm 60s`")


def _map_rows(actions: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for action in actions:
        for one in action.get("maps", ()):
            name, of = text_of(one, "name"), text_of(action, "name")
            yield [name, of, *(text_of(one, key) for key in ("action", "entries", "lost", "pin", "reason"))]

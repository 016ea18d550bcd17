"""The actions of `xdploaderctl map`: help texts and arguments."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Final

MAP: Final = "Look into a pinned map, or fill it."
MAP_EPILOG: Final = """\
examples:
  xdploaderctl map dump /sys/fs/bpf/filter/maps/blocked --json > blocked.json
  xdploaderctl map load /sys/fs/bpf/filter/maps/blocked blocked.json
"""
_DUMP = """\
Print the entries of a pinned map, decoded by its BTF where it has any, else as hex bytes. A per-CPU map shows one
value for each CPU.
"""
_LOAD = """\
Set the entries of a JSON file in a pinned map. The file has what `map dump --json` or `bpftool -j map dump` print. All
of it is checked before the first entry is set; when the kernel then refuses one, those set before are as they were.
Entries that are not in the file stay.
"""
MAP_ACTIONS: Final[Mapping[str, str]] = {"dump": _DUMP, "load": _LOAD}


def add_map_arguments(action: str, parser: argparse.ArgumentParser) -> None:
    """Add what an action takes."""
    parser.add_argument("pin", metavar="PIN", help="path of the pinned map")
    if action == "load":
        parser.add_argument("file", metavar="FILE", help="the JSON file")
        parser.add_argument("--replace", action="store_true", help="remove the entries that are not in the file")

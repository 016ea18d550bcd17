"""Options that several verbs of xdploaderctl have."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xdploaderd.cli.declared import Options

_UNITS = {"s": 1, "m": 60, "h": 3600}


def add_common(parser: Options, *, online: bool, default: object = None) -> None:
    """Add what every verb has, and what those that ask the daemon have besides."""
    parser.add_argument("--json", action="store_true", default=default, help="print JSON, errors too")
    parser.add_argument("--verbose", action="store_true", default=default, help="print the whole log of the verifier")
    if online:
        text = "the daemon's control socket, else XDPLOADERD_SOCKET says"
        parser.add_argument("--socket", metavar="PATH", default=default, help=text)


def add_value_options(parser: Options) -> None:
    """Add what an object is loaded with: values, sizes and maps by name."""
    parser.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="MAP=PIN",
        help="pin this map at PIN, a name or path below the root of pins, or use the fitting one that is pinned there;"
        " may be given again",
    )
    parser.add_argument(
        "--no-map",
        action="append",
        default=[],
        metavar="MAP",
        help="do not create this map: programs that never come to use it load; may be given again",
    )
    parser.add_argument(
        "--global",
        dest="globals",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="initial value of a variable, or of a part of it as in C (conf.ports[0]): a number, true or false, an"
        " enumerator, text for a char array, hex:0011.. for any type; may be given again",
    )
    parser.add_argument(
        "--max-entries", action="append", default=[], metavar="MAP=N", help="size of a map; may be given again"
    )
    parser.add_argument(
        "--map-init",
        action="append",
        default=[],
        metavar="MAP=FILE",
        help="fill this map, when it is made, with the entries of a JSON file, as `map dump --json` prints them;"
        " may be given again",
    )
    parser.add_argument(
        "--on-mismatch",
        choices=("refuse", "recreate", "migrate"),
        default="",
        help="what is done when a pinned map differs from the object's (default: refuse)",
    )


def add_confirm(parser: Options) -> None:
    """Add the option of verbs that can put what they do on trial."""
    parser.add_argument(
        "--confirm",
        type=_time,
        default=0,
        metavar="TIME",
        help="roll back after TIME, such as 60s or 5m, unless `xdploaderctl confirm` is called",
    )


def add_type_option(parser: Options) -> None:
    """Add the types of programs, and the limits that are checked as the object is read."""
    add_limit_option(parser)
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="[PROG=]TYPE",
        help="type of all programs, or of PROG alone: xdp, tc, or the kernel's name such as kprobe",
    )


def add_limit_option(parser: Options) -> None:
    """Add the bounds on an object."""
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help="bound on what an object may ask for, such as programs=1000; may be given again, see the manual page",
    )


def add_pinning_option(parser: Options) -> None:
    """Add the pinning configuration."""
    parser.add_argument("--pinning", metavar="FILE", help="pinning configuration instead of /etc/libbpf/pinning.conf")


def _time(text: str) -> int:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not number.isascii() or not number.isdecimal() or not int(number[:9]) * _UNITS[unit] > 0:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"'{text}' is no time, want a whole number of s, m or h, such as 60s")
    return int(number[:9]) * _UNITS[unit]

"""The command line of xdploaderctl: its verbs, options and help texts."""

from __future__ import annotations

import argparse

from xdploaderd import __version__
from xdploaderd.cli import map_options, texts
from xdploaderd.cli.apply_options import add_confirm, apply_verb, confirm_verb
from xdploaderd.cli.help_format import formatter
from xdploaderd.cli.output import PROGRAM
from xdploaderd.cli.plain import ONLINE, lazy, version
from xdploaderd.errors import UsageError

TYPE_CHECKING = False  # typing takes as long to import as all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    Run = Callable[[argparse.Namespace], int]

_ENTRY_OPTIONS = (
    *("interface", "hook", "mode", "modes", "attach", "order", "allow_gap"),
    *("program", "priority", "handle", "protocol", "classid"),
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like all others: one line with a code."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments, `run` being the verb's function. Raises UsageError."""
    args = _build_parser(_verb_of(argv)).parse_args(argv)
    args.check(args)
    return args


def _verb_of(argv: Sequence[str]) -> str:
    """Return the verb of a command line, empty where that takes a whole parser to tell."""
    words = iter(argv)
    for word in words:
        if word == "--socket":
            next(words, "")
        elif not word.startswith(("--json", "--verbose", "--socket=")):
            return word if word in _VERBS else ""
    return ""


def _build_parser(verb: str) -> _Parser:
    """Return the parser with this verb, or, since making them all takes longer than most verbs run, with all."""
    parser = _Parser(
        prog=PROGRAM,
        description="Load, attach and look at XDP and tc BPF programs.",
        epilog=texts.EPILOG,
        formatter_class=formatter,
        parents=[_common(), _socket()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(json=False, verbose=False, socket=None, check=lambda _args: None)
    verbs = _Verbs(parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=PROGRAM))
    for name in (verb,) if verb else _VERBS:
        _VERBS[name](verbs, name)
    return parser


def _common() -> _Parser:
    """Options that may stand before or after the verb; SUPPRESS keeps one place from resetting the other."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS, formatter_class=formatter)
    common.add_argument("--json", action="store_true", help="print JSON, errors too")
    common.add_argument("--verbose", action="store_true", help="print the whole log of the verifier")
    return common


def _socket() -> _Parser:
    online = _Parser(add_help=False, argument_default=argparse.SUPPRESS, formatter_class=formatter)
    online.add_argument("--socket", metavar="PATH", help="the daemon's control socket, else XDPLOADERD_SOCKET says")
    return online


class _Verbs:
    """The verbs of the command, each made with the common options."""

    def __init__(self, subparsers: argparse._SubParsersAction[_Parser]) -> None:
        self._subparsers = subparsers
        self._common, self._socket = _common(), _socket()  # others than the whole command's, whose defaults they keep

    def add(self, name: str, run: Run, text: str, *, epilog: str = "", online: bool = False) -> _Parser:
        """Add one verb; the first sentence of its text is its line in the list of verbs."""
        first = text.replace("\n", " ").split(". ")[0].split(": ")[0].strip().removesuffix(".")
        parser = self._subparsers.add_parser(
            name,
            help=first[:1].lower() + first[1:],
            description=text,
            epilog=epilog,
            formatter_class=formatter,
            parents=[self._common, self._socket] if online else [self._common],
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser


_PLAIN_ONLINE = {
    "status": "Show whether everything is as wanted. Exit 3 when something is not.",
    "list": "List the configured attachments with their programs.",
    "plan": "Show what a reload would do, and why. Nothing is changed.",
}


def _plain_online(verbs: _Verbs, name: str) -> None:
    verbs.add(name, lazy("online", ONLINE[name]), _PLAIN_ONLINE[name], online=True)


def _wait_verb(verbs: _Verbs, name: str) -> None:
    wait = verbs.add(name, lazy("watch", "wait"), texts.WAIT, epilog=texts.WAIT_EPILOG, online=True)
    wait.add_argument("names", metavar="NAME", nargs="*", help="by default all that the daemon has")
    wait.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="give up after that; by default never")


def _orphans_verb(verbs: _Verbs, name: str) -> None:
    orphans = verbs.add(name, lazy("online", "orphans"), texts.ORPHANS, online=True)
    orphans.add_argument("name", metavar="NAME", nargs="?", default="", help="this one alone")
    orphans.add_argument("--sweep", action="store_true", help="detach and unpin now")


def _monitor_verb(verbs: _Verbs, name: str) -> None:
    verbs.add(name, lazy("watch", "monitor"), texts.MONITOR, epilog=texts.MONITOR_EPILOG, online=True)


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{word}' is no number of seconds")
    return seconds


def _attach_verb(verbs: _Verbs, name: str) -> None:
    _add_attach(verbs.add(name, lazy("online", "attach"), texts.ATTACH, epilog=texts.ATTACH_EPILOG, online=True))


def _adopt_verb(verbs: _Verbs, name: str) -> None:
    _add_adopt(verbs.add(name, lazy("adopt", "adopt"), texts.ADOPT, epilog=texts.ADOPT_EPILOG, online=True))


def _detach_verb(verbs: _Verbs, name: str) -> None:
    detach = verbs.add(name, lazy("online", "detach"), texts.DETACH, online=True)
    detach.add_argument("name", metavar="NAME")
    detach.add_argument("--permanent", action="store_true", help="remove the entry of `attach --permanent` for good")
    add_confirm(detach)


def _core_log_verb(verbs: _Verbs, name: str) -> None:
    core_log = verbs.add(
        name, lazy("online", "show_core_log"), texts.CORE_LOG, epilog=texts.CORE_LOG_EPILOG, online=True
    )
    core_log.add_argument("name", metavar="NAME")


def _add_adopt(parser: _Parser) -> None:
    parser.set_defaults(check=lambda args: _check_adopt(parser, args))
    parser.add_argument("--object", metavar="FILE", default="", help="the object file that the program came from")
    parser.add_argument("--interface", metavar="DEV", default="", help="what is attached to this interface")
    parser.add_argument("--hook", choices=("xdp", "tc-ingress", "tc-egress"), default="", help="and to this hook of it")
    parser.add_argument("--all", action="store_true", help="what is attached to any interface")
    parser.add_argument("--name", metavar="N", default="", help="name of the entry, by default INTERFACE-HOOK")
    parser.add_argument("--runtime", action="store_true", help="until the next boot, instead of writing the entry")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")


def _check_adopt(parser: _Parser, args: argparse.Namespace) -> None:
    if bool(args.interface) == args.all:
        parser.error("adopt what? want either --interface or --all")
    if args.all and (args.hook or args.name):
        parser.error("--hook and --name mean one interface, not --all")


def _add_attach(parser: _Parser) -> None:
    parser.set_defaults(check=lambda args: _check_attach(parser, args))
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="with --object: INTERFACE-HOOK by default")
    parser.add_argument("--object", metavar="FILE", default="", help="attach a program of this object file")
    parser.add_argument("--interface", metavar="DEV", default="", help="the interface")
    parser.add_argument("--hook", metavar="HOOK", default="", help="xdp, tc-ingress or tc-egress")
    parser.add_argument("--mode", metavar="MODE", default="", help="of XDP: native, skb, offload or unspecified")
    parser.add_argument("--modes", metavar="M,M", default="", help="of XDP, the first that the driver takes")
    parser.add_argument("--attach", metavar="KIND", default="", help="netlink (default), or link: a pinned bpf_link")
    parser.add_argument(
        "--order", metavar="WHERE", default="", help="of a link on tc: first, last, before:NAME or after:NAME"
    )
    parser.add_argument("--allow-gap", action="store_true", help="allow changes that need a moment without a program")
    program = parser.add_mutually_exclusive_group()
    program.add_argument("--program", metavar="NAME", default="", help="the program, where the object has several")
    program.add_argument("--section", dest="program", metavar="NAME", help="the program by its section")
    parser.add_argument("--priority", metavar="N", default="", help="of the tc filter")
    parser.add_argument("--handle", metavar="N", default="", help="of the tc filter")
    parser.add_argument("--protocol", metavar="P", default="", help="that the tc filter looks at: all, ip, ipv6, ...")
    parser.add_argument("--classid", metavar="C", default="", help="that the tc filter gives to packets, such as 1:10")
    _add_value_options(parser)
    parser.add_argument("--permanent", action="store_true", help="make it an entry of the configuration")
    parser.add_argument("--force", action="store_true", help="replace a program that somebody else put there")
    add_confirm(parser)
    parser.add_argument(
        "--by-path", action="store_true", help="let the daemon read FILE itself, and again at each reload"
    )


def _check_attach(parser: _Parser, args: argparse.Namespace) -> None:
    """Refuse options that do not go together, which argparse cannot say."""
    if args.object:
        missing = [f"--{key}" for key in ("interface", "hook") if not getattr(args, key)]
        if missing:
            parser.error(f"--object needs {' and '.join(missing)}")
        return
    keys = (
        *_ENTRY_OPTIONS,
        "globals",
        "max_entries",
        "share",
        "no_map",
        "map_init",
        "on_mismatch",
        "permanent",
        "force",
        "by_path",
    )
    given = [f"--{key.replace('_', '-')}" for key in keys if getattr(args, key)]
    if given:
        parser.error(f"without --object there is no meaning in {', '.join(given)}")
    if not args.name:
        parser.error("attach what? want NAME, or --object with --interface and --hook")


def _load_verb(verbs: _Verbs, name: str) -> None:
    load = verbs.add(name, lazy("load", "load"), texts.LOAD, epilog=texts.LOAD_EPILOG)
    load.add_argument("object", metavar="OBJ", help="the BPF object file")
    load.add_argument("directory", metavar="DIR", help="a directory on a BPF file system, made when missing")
    _add_type_option(load)
    load.add_argument(
        "--program", action="append", default=[], metavar="NAME", help="load only this program; may be given again"
    )
    _add_value_options(load)
    load.add_argument(
        "--attach-target",
        action="append",
        default=[],
        metavar="[PROG=]PIN[:FUNC]",
        help="the pinned program, and its function, that freplace programs (or PROG) are for; may be given again",
    )
    load.add_argument("--partial", action="store_true", help="load what can be loaded and list the rest; exit 3 then")
    _add_pinning_option(load)


def _unload_verb(verbs: _Verbs, name: str) -> None:
    unload = verbs.add(name, lazy("load", "unload"), "Remove what `load` pinned below DIR, and nothing else.")
    unload.add_argument("directory", metavar="DIR")


def _explain_pin_verb(verbs: _Verbs, name: str) -> None:
    explain = verbs.add(name, lazy("pins", "explain_pin"), texts.EXPLAIN)
    explain.add_argument("object", metavar="OBJ", help="the BPF object file")
    _add_type_option(explain)
    _add_pinning_option(explain)


def _convert_verb(verbs: _Verbs, name: str) -> None:
    convert = verbs.add(name, lazy("convert", "convert"), texts.CONVERT, epilog=texts.CONVERT_EPILOG)
    convert.add_argument("object", metavar="OBJ", help="the BPF object file")
    _add_type_option(convert)
    _add_pinning_option(convert)


def _convert_pinning_verb(verbs: _Verbs, name: str) -> None:
    pinning = verbs.add(name, lazy("pins", "convert_pinning"), texts.CONVERT_PINNING)
    pinning.add_argument("file", metavar="FILE", nargs="?", default="/etc/iproute2/bpf_pinning", help="%(default)s")


def _btfgen_verb(verbs: _Verbs, name: str) -> None:
    btfgen = verbs.add(name, lazy("btfgen", "btfgen"), texts.BTFGEN, epilog=texts.BTFGEN_EPILOG)
    btfgen.add_argument("objects", metavar="OBJ", nargs="+", help="a BPF object file")
    btfgen.add_argument("--btf", required=True, metavar="FILE", help="BTF of a kernel, or a directory of such files")
    _add_limit_option(btfgen)
    btfgen.add_argument("-o", "--output", required=True, metavar="OUT", help="the file, or directory, to write")


def _core_diff_verb(verbs: _Verbs, name: str) -> None:
    diff = verbs.add(name, lazy("core_diff", "core_diff"), texts.CORE_DIFF, epilog=texts.CORE_DIFF_EPILOG)
    diff.add_argument("object", metavar="OBJ", help="the BPF object file")
    diff.add_argument(
        "--btf", action="append", default=[], required=True, metavar="FILE", help="BTF of a kernel; given twice"
    )
    _add_limit_option(diff)


def _map_verb(verbs: _Verbs, name: str) -> None:
    maps = verbs.add(name, lazy("maps", "dump"), map_options.MAP, epilog=map_options.MAP_EPILOG)
    actions = _Verbs(maps.add_subparsers(metavar="ACTION", required=True))
    for action, text in map_options.MAP_ACTIONS.items():
        run = lazy("maps", map_options.function_of(action))
        map_options.add_map_arguments(action, actions.add(action, run, text, online=True))


def _version_verb(verbs: _Verbs, name: str) -> None:
    verbs.add(name, version, "Print the version of this command.")


def _add_value_options(parser: _Parser) -> None:
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


def _prepare_verb(verbs: _Verbs, name: str) -> None:
    prepare = verbs.add(name, lazy("prepare", "prepare"), texts.PREPARE, epilog=texts.PREPARE_EPILOG)
    prepare.add_argument("object", metavar="OBJ", nargs="+", help="BPF object files")
    for option, metavar, text in (
        ("--btf", "FILE", "BTF of the kernel: raw, ELF, vmlinuz or *.btf.tar.xz; several make a matrix"),
        ("--btf-dir", "DIR", "all BTF files and kernels of a folder, such as BTFHub's; may be given again"),
        ("--module-btf", "[NAME=]FILE", "BTF of a module of that kernel; may be given again"),
        ("--program", "NAME", "check only this program; may be given again"),
    ):
        prepare.add_argument(option, action="append", default=[], metavar=metavar, help=text)
    prepare.add_argument("--kconfig", metavar="FILE", help="configuration of the kernel, for externs CONFIG_*")
    prepare.add_argument(
        "--release", metavar="R", help="release of the kernel; without --btf, that of one installed on this machine"
    )
    prepare.add_argument("--kallsyms", metavar="FILE", help="symbols of the kernel, as /proc/kallsyms has them")
    prepare.add_argument("--core-log", action="store_true", help="print how each CO-RE relocation came about")
    prepare.add_argument("--dump-insns", action="store_true", help="print the relocated instructions")
    _add_type_option(prepare)


def _add_limit_option(parser: _Parser) -> None:
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help="bound on what an object may ask for, such as programs=1000; may be given again, see the manual page",
    )


def _add_type_option(parser: _Parser) -> None:
    _add_limit_option(parser)
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="[PROG=]TYPE",
        help="type of all programs, or of PROG alone: xdp, tc, or the kernel's name such as kprobe",
    )


def _add_pinning_option(parser: _Parser) -> None:
    parser.add_argument("--pinning", metavar="FILE", help="pinning configuration instead of /etc/libbpf/pinning.conf")


# In the order of `--help`.
_VERBS: Mapping[str, Callable[[_Verbs, str], None]] = {
    "status": _plain_online,
    "list": _plain_online,
    "reload": apply_verb,
    "apply": apply_verb,
    "confirm": confirm_verb,
    "plan": _plain_online,
    "wait": _wait_verb,
    "monitor": _monitor_verb,
    "orphans": _orphans_verb,
    "attach": _attach_verb,
    "adopt": _adopt_verb,
    "detach": _detach_verb,
    "core-log": _core_log_verb,
    "load": _load_verb,
    "prepare": _prepare_verb,
    "unload": _unload_verb,
    "explain-pin": _explain_pin_verb,
    "convert": _convert_verb,
    "convert-pinning": _convert_pinning_verb,
    "btfgen": _btfgen_verb,
    "core-diff": _core_diff_verb,
    "map": _map_verb,
    "version": _version_verb,
}

"""The command line of xdploaderctl: its verbs, options and help texts."""

import argparse
import functools
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from xdploaderd import __version__
from xdploaderd.cli.output import PROGRAM, print_json, print_line
from xdploaderd.errors import UsageError

_EPILOG = """\
exit status:
  0    done; with `status` and `reload`: everything is as wanted
  2    the command line is wrong
  1    with `prepare`: something does not hold
  3    with `status`, `reload`, `attach`, `detach`: something is not as wanted; with `load --partial`: loaded in part;
       with `prepare`: something is unknown
  64   the request contradicts itself       65   the object file is refused
  66   no such file, interface, attachment  69   the daemon or a kernel feature is missing
  70   an internal failure                  71   the kernel refused
  73   a pin cannot be used                 75   busy: a foreign program, or locked
  77   not allowed                          78   the configuration is refused

An error is one line on standard error that begins with its code, such as HookBusy; with --json it is one JSON object.

iproute2's command lines: `xdploaderctl ip ...` and `xdploaderctl tc ...` take the words of ip(8) and tc(8), see
xdploaderctl-ip(8); what is not about BPF is done by the real tools.

examples:
  xdploaderctl status
  xdploaderctl explain-pin filter.o
  xdploaderctl load filter.o /sys/fs/bpf/filter --type xdp
  xdploaderctl map dump /sys/fs/bpf/filter/maps/counters
"""

_LOAD = """\
Load an object without the daemon and pin what it has: programs at DIR/NAME, maps at DIR/maps/NAME (a dot in a name
becomes `_`; a program without a function name takes its section with `/` as `_`). Maps are pinned besides where the
pinning configuration puts them. All or nothing: when anything fails, nothing is left. Nothing is attached.
"""

_LOAD_EPILOG = """\
examples:
  xdploaderctl load filter.o /sys/fs/bpf/filter
  xdploaderctl load filter.o /sys/fs/bpf/filter --type xdp --program xdp_main
  xdploaderctl load filter.o /sys/fs/bpf/filter --global limit=100 --max-entries flows=65536
  xdploaderctl load big.o /sys/fs/bpf/big --type prog_a=tc --type prog_b=xdp --partial --json
"""

_ATTACH = """\
Attach a program: one that is configured as NAME, after a detach or a failure; or, with --object, one that is not
configured. That attachment is the daemon's like any other. It lasts over restarts of the daemon and of the interface
until `detach` or the next boot, and with --permanent for good.
"""

_ATTACH_EPILOG = """\
examples:
  xdploaderctl attach edge
  xdploaderctl attach --object filter.o --interface eth0 --hook xdp
  xdploaderctl attach --object shape.o --interface eth0 --hook tc-egress --program shape --priority 10 shaper
  xdploaderctl attach --object filter.o --interface eth0 --hook xdp --mode native --permanent --force edge
"""

_ADOPT = """\
Let the daemon keep what ip, tc or xdp-loader attached. The running program stays as it is, with its maps and their
contents; it becomes an entry that is written to conf.d/50-NAME.yaml. That needs the object file it came from: the one
named, or one of the usual directories; whether it is the same program is told by a test load. Exit 3 when something
could not be taken over.
"""

_ADOPT_EPILOG = """\
examples:
  xdploaderctl adopt --all --dry-run
  xdploaderctl adopt --interface eth0 --hook xdp --object filter.o --name edge
"""

_DETACH = """\
Detach NAME. An entry of the configuration stays off until it is attached again, or until the next boot; one that
`attach --object` made is forgotten.
"""

_CORE_LOG = """\
Show how each CO-RE relocation of NAME's program came about when the daemon loaded it: what was asked for, each
candidate with its verdict, the instruction before and after. Exit 66 when no record is kept: of a program that was
adopted, or is not loaded.
"""

_CORE_LOG_EPILOG = """\
examples:
  xdploaderctl core-log edge
  xdploaderctl core-log edge --json
"""

_PREPARE = """\
Say what holds of objects in a kernel, without privilege and without a bpf(2) call: relocations, sections, maps,
helpers, externs and limits, and which capabilities loading takes. The kernel is this machine's, or one known by its
BTF: a raw file, a vmlinux, a vmlinuz or BTFHub's archive. What only the verifier can tell stays out.
Exit 0: all holds; 1: something fails; 3: something is unknown and nothing fails.
"""

_PREPARE_EPILOG = """\
examples:
  xdploaderctl prepare filter.o
  xdploaderctl prepare filter.o --btf vmlinuz-6.1.0-56-amd64 --kconfig config-6.1.0-56-amd64 --release 6.1.0-56-amd64
  xdploaderctl prepare *.o --btf-dir btfhub-archive/debian --json
  xdploaderctl prepare filter.o --btf 5.10.btf --dump-insns
"""

_EXPLAIN = """\
Print for each map of an object the path where it is pinned here, by libbpf and by iproute2. The file is only read:
no privilege is needed and nothing is loaded.
"""

_CONVERT = """\
Print the definitions in C that replace an object's legacy maps. Behind them stands, as a comment, what else must change
in its source: sections, pins, tail calls, inner maps. The file is only read: no privilege is needed.
"""

_CONVERT_EPILOG = """\
examples:
  xdploaderctl convert old_filter.o --type tc
  xdploaderctl convert old_filter.o --json
"""

_CONVERT_PINNING = """\
Print iproute2's bpf_pinning as a strict pinning.conf of the same meaning. Lines that iproute2 ignores, and names that
no BPF file system takes, become comments.
"""

_BTFGEN = """\
Cut the BTF of a kernel down to what objects need: the types and members that their CO-RE records rest on, at their
sizes and offsets. The result stands in for the kernel's own BTF on hosts that have none. FILE is BTF, a vmlinux, a
kernel image or BTFHub's archive of one; of a directory every such file is taken, and OUT is a directory too. No
privilege is needed.
"""

_BTFGEN_EPILOG = """\
examples:
  xdploaderctl btfgen --btf /sys/kernel/btf/vmlinux -o filter.btf filter.o
  xdploaderctl btfgen --btf btfhub/debian -o small filter.o balancer.o

exit status: 3 when some files of a directory could not be cut down; each is named on standard error
"""

_CORE_DIFF = """\
Show which CO-RE records of an object come to something else on another kernel: value, instruction, poison or refusal.
FILE is raw BTF or an ELF file with a section .BTF. No privilege is needed.
"""

_CORE_DIFF_EPILOG = """\
examples:
  xdploaderctl core-diff filter.o --btf debian11.btf --btf /sys/kernel/btf/vmlinux

exit status: 0 nothing differs, 1 something does
"""

_DUMP = """\
Print the entries of a pinned map, decoded by its BTF where it has any, else as hex bytes. A per-CPU map shows one
value for each CPU.
"""

_ENTRY_OPTIONS = ("interface", "hook", "mode", "program", "priority", "handle", "protocol", "classid")
_COLUMNS = 80  # where nothing tells the width of the terminal


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like all others: one line with a code."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


Run = Callable[[argparse.Namespace], int]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments, `run` being the verb's function. Raises UsageError."""
    args = _build_parser().parse_args(argv)
    args.check(args)
    return args


def _build_parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Load, attach and look at XDP and tc BPF programs.",
        epilog=_EPILOG,
        formatter_class=_formatter,
        parents=[_common(), _socket()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(json=False, verbose=False, socket=None, check=lambda _args: None)
    verbs = _Verbs(parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=PROGRAM))
    _add_online_verbs(verbs)
    _add_object_verbs(verbs)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return a formatter for this terminal; argparse makes one for each option, and by itself imports shutil for it."""
    return argparse.RawDescriptionHelpFormatter(prog, width=_width())


@functools.cache
def _width() -> int:
    """Return the columns that argparse would choose."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal():
        try:
            columns = str(os.get_terminal_size().columns)
        except OSError:
            columns = ""
    return int(columns or _COLUMNS) - 2


def _common() -> _Parser:
    """Options that may stand before or after the verb; SUPPRESS keeps one place from resetting the other."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS, formatter_class=_formatter)
    common.add_argument("--json", action="store_true", help="print JSON, errors too")
    common.add_argument("--verbose", action="store_true", help="print the whole log of the verifier")
    return common


def _socket() -> _Parser:
    online = _Parser(add_help=False, argument_default=argparse.SUPPRESS, formatter_class=_formatter)
    online.add_argument("--socket", metavar="PATH", help="the daemon's control socket, else XDPLOADERD_SOCKET says")
    return online


class _Verbs:
    """The verbs of the command, each made with the common options."""

    def __init__(self, subparsers: "argparse._SubParsersAction[_Parser]") -> None:
        self._subparsers = subparsers
        self._common, self._socket = _common(), _socket()

    def add(self, name: str, run: Run, text: str, *, epilog: str = "", online: bool = False) -> _Parser:
        """Add one verb; the first sentence of its text is its line in the list of verbs."""
        first = text.replace("\n", " ").split(". ")[0].split(": ")[0].strip().removesuffix(".")
        parser = self._subparsers.add_parser(
            name,
            help=first[:1].lower() + first[1:],
            description=text,
            epilog=epilog,
            formatter_class=_formatter,
            parents=[self._common, self._socket] if online else [self._common],
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser


def _add_online_verbs(verbs: _Verbs) -> None:
    for verb, function, text in (
        ("status", "status", "Show whether everything is as wanted. Exit 3 when something is not."),
        ("list", "list_attachments", "List the configured attachments with their programs."),
        ("reload", "reload", "Read the configuration again and do what it wants. A bad one is refused."),
        ("plan", "plan", "Show what a reload would do, and why. Nothing is changed."),
    ):
        verbs.add(verb, _lazy("online", function), text, online=True)
    _add_attach(verbs.add("attach", _lazy("online", "attach"), _ATTACH, epilog=_ATTACH_EPILOG, online=True))
    _add_adopt(verbs.add("adopt", _lazy("adopt", "adopt"), _ADOPT, epilog=_ADOPT_EPILOG, online=True))
    detach = verbs.add("detach", _lazy("online", "detach"), _DETACH, online=True)
    detach.add_argument("name", metavar="NAME")
    detach.add_argument("--permanent", action="store_true", help="remove the entry of `attach --permanent` for good")
    core_log = verbs.add("core-log", _lazy("online", "show_core_log"), _CORE_LOG, epilog=_CORE_LOG_EPILOG, online=True)
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
    keys = (*_ENTRY_OPTIONS, "globals", "max_entries", "share", "no_map", "permanent", "force", "by_path")
    given = [f"--{key.replace('_', '-')}" for key in keys if getattr(args, key)]
    if given:
        parser.error(f"without --object there is no meaning in {', '.join(given)}")
    if not args.name:
        parser.error("attach what? want NAME, or --object with --interface and --hook")


def _add_object_verbs(verbs: _Verbs) -> None:
    load = verbs.add("load", _lazy("load", "load"), _LOAD, epilog=_LOAD_EPILOG)
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
    _add_prepare(verbs)
    unload = verbs.add("unload", _lazy("load", "unload"), "Remove what `load` pinned below DIR, and nothing else.")
    unload.add_argument("directory", metavar="DIR")
    explain = verbs.add("explain-pin", _lazy("pins", "explain_pin"), _EXPLAIN)
    explain.add_argument("object", metavar="OBJ", help="the BPF object file")
    _add_type_option(explain)
    _add_pinning_option(explain)
    convert = verbs.add("convert", _lazy("convert", "convert"), _CONVERT, epilog=_CONVERT_EPILOG)
    convert.add_argument("object", metavar="OBJ", help="the BPF object file")
    _add_type_option(convert)
    _add_pinning_option(convert)
    pinning = verbs.add("convert-pinning", _lazy("pins", "convert_pinning"), _CONVERT_PINNING)
    pinning.add_argument("file", metavar="FILE", nargs="?", default="/etc/iproute2/bpf_pinning", help="%(default)s")
    btfgen = verbs.add("btfgen", _lazy("btfgen", "btfgen"), _BTFGEN, epilog=_BTFGEN_EPILOG)
    btfgen.add_argument("objects", metavar="OBJ", nargs="+", help="a BPF object file")
    btfgen.add_argument("--btf", required=True, metavar="FILE", help="BTF of a kernel, or a directory of such files")
    _add_limit_option(btfgen)
    btfgen.add_argument("-o", "--output", required=True, metavar="OUT", help="the file, or directory, to write")
    diff = verbs.add("core-diff", _lazy("core_diff", "core_diff"), _CORE_DIFF, epilog=_CORE_DIFF_EPILOG)
    diff.add_argument("object", metavar="OBJ", help="the BPF object file")
    diff.add_argument(
        "--btf", action="append", default=[], required=True, metavar="FILE", help="BTF of a kernel; given twice"
    )
    _add_limit_option(diff)
    dump = verbs.add("map", _lazy("maps", "dump"), "Look into a pinned map.")
    actions = dump.add_subparsers(metavar="ACTION", required=True)
    action = _Verbs(actions).add("dump", _lazy("maps", "dump"), _DUMP)
    action.add_argument("pin", metavar="PIN", help="path of the pinned map")
    verbs.add("version", _version, "Print the version of this command.")


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
        help="initial value of a variable: a number, true or false, an enumerator, text for a char array,"
        " hex:0011.. for any type; may be given again",
    )
    parser.add_argument(
        "--max-entries", action="append", default=[], metavar="MAP=N", help="size of a map; may be given again"
    )


def _add_prepare(verbs: _Verbs) -> None:
    prepare = verbs.add("prepare", _lazy("prepare", "prepare"), _PREPARE, epilog=_PREPARE_EPILOG)
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


def _lazy(module: str, verb: str) -> Run:
    """Return the verb's function of a module of this package, which is imported when it runs."""

    def run(args: argparse.Namespace) -> int:
        function: Run = getattr(import_module(f"xdploaderd.cli.{module}"), verb)
        return function(args)

    return run


def _version(args: argparse.Namespace) -> int:
    if args.json:
        print_json({"version": __version__})
    else:
        print_line(f"{PROGRAM} {__version__}")
    return 0

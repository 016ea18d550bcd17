"""The verbs that give the daemon a program to keep, `attach` and `adopt`: their options, and which go together."""

from __future__ import annotations

from xdploaderd.cli import texts
from xdploaderd.cli.plain import lazy
from xdploaderd.cli.shared_options import add_confirm, add_value_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from xdploaderd.cli.declared import Options, Verbs

_WITH_OBJECT = (
    *("interface", "match", "hook", "mode", "modes", "attach", "order", "allow_gap", "on_foreign"),
    *("program", "priority", "handle", "protocol", "classid"),
    *("globals", "max_entries", "share", "no_map", "map_init", "on_mismatch", "maps", "keep_map"),
    *("permanent", "force", "by_path"),
)


def attach_verb(verbs: Verbs, name: str) -> None:
    parser = verbs.add(name, lazy("online", "attach"), texts.ATTACH, epilog=texts.ATTACH_EPILOG, online=True)
    parser.set_defaults(check=lambda args: _check_attach(parser, args))
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="with --object: INTERFACE-HOOK by default")
    parser.add_argument("--object", metavar="FILE", default="", help="attach a program of this object file")
    parser.add_argument("--interface", metavar="DEV", default="", help="the interface")
    parser.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of --interface: each one with this name, altname (globs too), mac, driver or ifindex; given"
        " again, all must hold",
    )
    parser.add_argument("--hook", metavar="HOOK", default="", help="xdp, tc-ingress or tc-egress")
    parser.add_argument("--mode", metavar="MODE", default="", help="of XDP: native, skb, offload or unspecified")
    parser.add_argument("--modes", metavar="M,M", default="", help="of XDP, the first that the driver takes")
    parser.add_argument("--attach", metavar="KIND", default="", help="netlink (default), or link: a pinned bpf_link")
    parser.add_argument(
        "--order", metavar="WHERE", default="", help="of a link on tc: first, last, before:NAME or after:NAME"
    )
    parser.add_argument("--allow-gap", action="store_true", help="allow changes that need a moment without a program")
    parser.add_argument(
        "--on-foreign", metavar="WHAT", default="", help="when others take it off: report (default), restore or yield"
    )
    program = parser.add_mutually_exclusive_group()
    program.add_argument("--program", metavar="NAME", default="", help="the program, where the object has several")
    program.add_argument("--section", dest="program", metavar="NAME", help="the program by its section")
    parser.add_argument("--priority", metavar="N", default="", help="of the tc filter")
    parser.add_argument("--handle", metavar="N", default="", help="of the tc filter")
    parser.add_argument("--protocol", metavar="P", default="", help="that the tc filter looks at: all, ip, ipv6, ...")
    parser.add_argument("--classid", metavar="C", default="", help="that the tc filter gives to packets, such as 1:10")
    add_value_options(parser)
    parser.add_argument("--maps", metavar="WHOSE", default="", help="per-interface (default), or shared by entries")
    parser.add_argument(
        "--keep-map",
        action="append",
        default=[],
        metavar="MAP",
        help="an unpinned map that goes over to the program of another object; may be given again",
    )
    parser.add_argument("--permanent", action="store_true", help="make it an entry of the configuration")
    parser.add_argument("--force", action="store_true", help="replace a program that somebody else put there")
    add_confirm(parser)
    parser.add_argument(
        "--by-path", action="store_true", help="let the daemon read FILE itself, and again at each reload"
    )


def _check_attach(parser: Options, args: argparse.Namespace) -> None:
    """Refuse options that do not go together, which argparse cannot say."""
    if args.object:
        missing = [f"--{key}" for key in ("interface", "hook") if not getattr(args, key)]
        if args.match and "--interface" in missing:
            missing.remove("--interface")
        if missing:
            parser.error(f"--object needs {' and '.join(missing)}")
        if args.match and (args.interface or not args.name):
            parser.error("--match takes the place of --interface, and needs NAME")
        return
    given = [f"--{key.replace('_', '-')}" for key in _WITH_OBJECT if getattr(args, key)]
    if given:
        parser.error(f"without --object there is no meaning in {', '.join(given)}")
    if not args.name:
        parser.error("attach what? want NAME, or --object with --interface and --hook")


def adopt_verb(verbs: Verbs, name: str) -> None:
    parser = verbs.add(name, lazy("adopt", "adopt"), texts.ADOPT, epilog=texts.ADOPT_EPILOG, online=True)
    parser.set_defaults(check=lambda args: _check_adopt(parser, args))
    parser.add_argument("--object", metavar="FILE", default="", help="the object file that the program came from")
    parser.add_argument("--interface", metavar="DEV", default="", help="what is attached to this interface")
    parser.add_argument("--hook", choices=("xdp", "tc-ingress", "tc-egress"), default="", help="and to this hook of it")
    parser.add_argument("--all", action="store_true", help="what is attached to any interface")
    parser.add_argument("--name", metavar="N", default="", help="name of the entry, by default INTERFACE-HOOK")
    parser.add_argument("--runtime", action="store_true", help="until the next boot, instead of writing the entry")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")


def _check_adopt(parser: Options, args: argparse.Namespace) -> None:
    if bool(args.interface) == args.all:
        parser.error("adopt what? want either --interface or --all")
    if args.all and (args.hook or args.name):
        parser.error("--hook and --name mean one interface, not --all")

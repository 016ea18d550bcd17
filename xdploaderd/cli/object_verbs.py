"""The verbs that do without the daemon, most of them with object files: their options."""

from __future__ import annotations

from xdploaderd.cli import texts
from xdploaderd.cli.plain import lazy, version
from xdploaderd.cli.shared_options import add_limit_option, add_pinning_option, add_type_option, add_value_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xdploaderd.cli.declared import Verbs

_BPF_PINNING = "/etc/iproute2/bpf_pinning"


def load_verb(verbs: Verbs, name: str) -> None:
    load = verbs.add(name, lazy("load", "load"), texts.LOAD, epilog=texts.LOAD_EPILOG)
    load.add_argument("object", metavar="OBJ", help="the BPF object file")
    load.add_argument("directory", metavar="DIR", help="a directory on a BPF file system, made when missing")
    add_type_option(load)
    load.add_argument(
        "--program", action="append", default=[], metavar="NAME", help="load only this program; may be given again"
    )
    add_value_options(load)
    load.add_argument(
        "--attach-target",
        action="append",
        default=[],
        metavar="[PROG=]PIN[:FUNC]",
        help="the pinned program, and its function, that freplace programs (or PROG) are for; may be given again",
    )
    load.add_argument("--partial", action="store_true", help="load what can be loaded and list the rest; exit 3 then")
    add_pinning_option(load)


def unload_verb(verbs: Verbs, name: str) -> None:
    unload = verbs.add(name, lazy("load", "unload"), "Remove what `load` pinned below DIR, and nothing else.")
    unload.add_argument("directory", metavar="DIR")


def explain_pin_verb(verbs: Verbs, name: str) -> None:
    explain = verbs.add(name, lazy("pins", "explain_pin"), texts.EXPLAIN)
    explain.add_argument("object", metavar="OBJ", help="the BPF object file")
    add_type_option(explain)
    add_pinning_option(explain)


def convert_verb(verbs: Verbs, name: str) -> None:
    convert = verbs.add(name, lazy("convert", "convert"), texts.CONVERT, epilog=texts.CONVERT_EPILOG)
    convert.add_argument("object", metavar="OBJ", help="the BPF object file")
    add_type_option(convert)
    add_pinning_option(convert)


def convert_pinning_verb(verbs: Verbs, name: str) -> None:
    pinning = verbs.add(name, lazy("pins", "convert_pinning"), texts.CONVERT_PINNING)
    pinning.add_argument("file", metavar="FILE", nargs="?", default=_BPF_PINNING, help=_BPF_PINNING)


def prepare_verb(verbs: Verbs, name: str) -> None:
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
    add_type_option(prepare)


def btfgen_verb(verbs: Verbs, name: str) -> None:
    btfgen = verbs.add(name, lazy("btfgen", "btfgen"), texts.BTFGEN, epilog=texts.BTFGEN_EPILOG)
    btfgen.add_argument("objects", metavar="OBJ", nargs="+", help="a BPF object file")
    btfgen.add_argument("--btf", required=True, metavar="FILE", help="BTF of a kernel, or a directory of such files")
    add_limit_option(btfgen)
    btfgen.add_argument("-o", "--output", required=True, metavar="OUT", help="the file, or directory, to write")


def core_diff_verb(verbs: Verbs, name: str) -> None:
    diff = verbs.add(name, lazy("core_diff", "core_diff"), texts.CORE_DIFF, epilog=texts.CORE_DIFF_EPILOG)
    diff.add_argument("object", metavar="OBJ", help="the BPF object file")
    diff.add_argument(
        "--btf", action="append", default=[], required=True, metavar="FILE", help="BTF of a kernel; given twice"
    )
    add_limit_option(diff)


def version_verb(verbs: Verbs, name: str) -> None:
    verbs.add(name, version, "Print the version of this command.")

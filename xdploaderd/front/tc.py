"""`tc` as far as BPF goes: bpf filters, clsact and ingress, `exec bpf`; every other command is the real tc's.

Mirrors main and do_cmd of iproute2 tc/tc.c. What is shown is the real tc's too, which can print filters of all kinds;
where there is none, ours prints those of kind bpf.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from xdploaderd.control.client import ControlClient
from xdploaderd.errors import FeatureMissingError, UsageError
from xdploaderd.front import dispatch, outcome, tc_daemon
from xdploaderd.front.batch import STANDARD_INPUT, BatchLine, Runners, read_batch, run_batch
from xdploaderd.front.daemon import check_direct, find_daemon
from xdploaderd.front.ip_xdp import clean_up
from xdploaderd.front.links import find_interface
from xdploaderd.front.namespace import enter_namespace
from xdploaderd.front.tc_exec import run_exec
from xdploaderd.front.tc_filter import change_filter, place_of, qdisc_kind
from xdploaderd.front.tc_filter_words import FilterCommand, FilterVerb, parse_filter_command
from xdploaderd.front.tc_foreign import is_for_us, set_with_real_tc
from xdploaderd.front.tc_list import get_filter, show_filters, show_qdiscs
from xdploaderd.front.tc_options import TcCommand, parse_options
from xdploaderd.front.tc_qdisc import QdiscCommand, QdiscVerb, change_qdisc, parse_qdisc_command
from xdploaderd.front.words import EXIT_WORDS, Words
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.printable import quoted
from xdploaderd.terminal import write_out

_TOOL = "tc"
_FAILED = 1
_QDISC, _FILTER, _EXEC = "qdisc", "filter", "exec"
_BPF = "bpf"
_OBJECTS = (_QDISC, "class", _FILTER, "chain", "actions", "monitor", _EXEC, "help")  # in the order of abbreviations
_REAL_OPTIONS = ("-Version", "-help", "-graph")


USAGE = """\
usage: xdploaderctl tc [--direct] [--socket PATH] [-netns NAME]
                    filter { add | replace | change | del } dev DEV { ingress | egress | parent P } [pref N]
                           [handle H] [protocol P] [chain N] bpf [direct-action] PROG [verbose] [classid C]
                           [skip_hw | skip_sw] [export SOCKET]
                           [action { ok | drop | pipe | goto chain N | ... }]
       xdploaderctl tc qdisc { add | replace | del } dev DEV { clsact | ingress }
       xdploaderctl tc [-details] [-json] [-pretty] [-statistics] { filter | qdisc } show dev DEV ...
       xdploaderctl tc exec bpf { graft MAP [key N] PROG | import SOCKET [run CMD ...] | debug }
       xdploaderctl tc [-force] -batch FILE
PROG := { object FILE [section S] [program P] | pinned PATH | bytecode B | bytecode-file FILE }

Words, abbreviations and exit statuses are those of tc(8). With a running daemon a filter of an object file is the
daemon's, unless --direct is given. What is not about BPF is done by the real tc. See xdploaderctl-tc(8).
"""


def run(argv: Sequence[str]) -> int:
    """Run one command line of `tc` (without its name) and return the exit status."""
    if list(argv) == ["--help"]:
        write_out(USAGE.rstrip())
        return 0
    return outcome.run_tool(_TOOL, lambda: _run(parse_options(argv)), failed=_FAILED)


def _run(command: TcCommand) -> int:
    if command.named.keys() & set(_REAL_OPTIONS):
        return _pass_on(command)
    if netns := command.named.get("-netns"):
        enter_namespace(netns)
    return _batch(command) if "-batch" in command.named else _one(command)


def _one(command: TcCommand) -> int:
    words = Words(command.words)
    match _object(words):
        case "qdisc" if (qdisc := parse_qdisc_command(words)) is not None:
            return _qdisc(qdisc, command)
        case "filter" if (wanted := parse_filter_command(words)) is not None:
            return _foreign(wanted, command) if wanted.foreign else _filter(wanted, command)
        case "exec" if words.accept_exact(_BPF):
            return _exec(words)
        case _:
            return _show_or_pass_on(command)


def _filter(wanted: FilterCommand, command: TcCommand) -> int:
    device = find_interface(wanted.place.dev) if wanted.place.dev else None
    place = place_of(wanted, device)
    if device and tc_daemon.takes(wanted, place) and (client := _daemon(command)):
        if wanted.verb is FilterVerb.DELETE:
            done = tc_daemon.forget_filters(client, place, device)
        else:
            done = tc_daemon.set_filter(client, wanted, place, device, _say)
        if done:
            return 0
    if device:
        check_direct(device, command.socket)
    bpf = Bpf()
    change_filter(wanted, place, bpf, say=_say)
    clean_up(bpf)
    return 0


def _foreign(wanted: FilterCommand, command: TcCommand) -> int:
    """Let the real tc set a filter with actions that only it knows, of an object that it may not load."""
    if not dispatch.real_tool(_TOOL) or not is_for_us(wanted):
        return _pass_on(command)
    if wanted.place.dev:
        check_direct(find_interface(wanted.place.dev), command.socket)
    bpf = Bpf()
    set_with_real_tc(wanted, command.words, bpf, call=partial(_call_real, command), say=_say)
    clean_up(bpf)
    return 0


def _qdisc(wanted: QdiscCommand, command: TcCommand) -> int:
    device = find_interface(wanted.dev) if wanted.dev else None
    if device and wanted.verb is QdiscVerb.DELETE and (client := _daemon(command)):
        held = tc_daemon.forget_interface(client, device)
        if held and not qdisc_kind(device.index):  # the daemon had made it
            return 0
    if device and wanted.verb is QdiscVerb.DELETE:
        check_direct(device, command.socket)
    change_qdisc(wanted, device.index if device else 0)
    return 0


def _daemon(command: TcCommand) -> ControlClient | None:
    return None if command.direct or "-netns" in command.named else find_daemon(command.socket)


def _exec(words: Words) -> int:
    return outcome.run_tool(_TOOL, lambda: run_exec(words, Bpf(), say=_say), failed=EXIT_WORDS)


def _show_or_pass_on(command: TcCommand) -> int:
    """Leave a command to the real tc; without one, filters and qdiscs are shown by us."""
    if dispatch.real_tool(_TOOL):
        return _pass_on(command)
    words = Words(command.words)
    kind = _object(words)
    if kind in (_QDISC, _FILTER) and (not words or _accept_show(words)):
        if kind == _FILTER:
            show_filters(words, command, Bpf(), write_out)
        else:
            show_qdiscs(words, command, write_out)
        return 0
    if kind == _FILTER and words.accept("get"):
        get_filter(words, command, Bpf(), write_out)
        return 0
    return _pass_on(command)


def _accept_show(words: Words) -> bool:
    return words.accept("list") or words.accept("show") or words.accept("lst")


def _batch(command: TcCommand) -> int:
    name = command.named["-batch"]
    real = bool(dispatch.real_tool(_TOOL))
    runners = Runners(
        ours=lambda line: not real or _is_ours(line.words),
        run_own=partial(_run_line, command),
        run_real=lambda text: _call_real(command, ("-batch", STANDARD_INPUT), text=text),
        say=_say,
    )
    return run_batch(name, read_batch(name), runners, force="-force" in command.named)


def _is_ours(argv: Sequence[str]) -> bool:
    """Tell whether words are a command of ours, or one that we refuse."""
    words = Words(argv)
    try:
        match _object(words):
            case "qdisc":
                return parse_qdisc_command(words) is not None
            case "filter":
                found = parse_filter_command(words)
                return found is not None and (not found.foreign or is_for_us(found))
            case kind:
                return kind == _EXEC and words.accept_exact(_BPF)
    except UsageError:
        return True


def _run_line(command: TcCommand, line: BatchLine) -> int:
    return outcome.run_tool(_TOOL, lambda: _one(replace(command, words=line.words)), failed=_FAILED)


def _pass_on(command: TcCommand) -> int:
    """Let the real tc do it, and return its exit status."""
    return _call_real(command, command.words)


def _call_real(command: TcCommand, words: Sequence[str], *, text: str | None = None) -> int:
    real = dispatch.real_tool(_TOOL)
    if not real:
        what = " ".join((*command.options, *words)[:2])
        raise FeatureMissingError(f"{quoted(what)} is the real 'tc's, which is not in PATH", feature=_TOOL)
    argv = [real, *command.options, *words]
    done = subprocess.run(argv, env=dispatch.environment(), check=False, input=text, text=True)  # noqa: S603 - as asked
    return done.returncode


def _object(words: Words) -> str:
    return next((name for name in _OBJECTS if words.accept(name)), "")


def _say(line: str) -> None:
    outcome.say(_TOOL, line)

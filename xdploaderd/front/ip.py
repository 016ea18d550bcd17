"""`ip` as we do it: XDP is ours, with the daemon where one answers; everything else is the real tool's."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from xdploaderd.errors import FeatureMissingError
from xdploaderd.front import dispatch
from xdploaderd.front.batch import STANDARD_INPUT, BatchLine, Runners, read_batch, run_batch
from xdploaderd.front.daemon import carry_out, check_direct, find_daemon, takes
from xdploaderd.front.ip_options import IpCommand, parse_options
from xdploaderd.front.ip_show import show
from xdploaderd.front.ip_words import LinkSet, parse_link_set
from xdploaderd.front.ip_xdp import link_set
from xdploaderd.front.links import find_interface
from xdploaderd.front.namespace import enter_namespace
from xdploaderd.front.outcome import run_tool, say
from xdploaderd.front.words import EXIT_WORDS, matches, refused
from xdploaderd.interrupts import held_signals
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import checked_before
from xdploaderd.printable import quoted
from xdploaderd.terminal import write_out

_TOOL = "ip"
_MOVING = frozenset({"name", "netns", "index"})  # settings after which the interface is another one to the daemon


USAGE = """\
usage: xdploaderctl ip [--direct] [--socket PATH] [-force] [-netns NAME]
                    link set [dev] DEV XDP { off | object FILE [section S] [program P] [verbose] | pinned PATH }
       xdploaderctl ip [--direct] [-details] [-json] [-pretty] link show [[dev] DEV] [up]
       xdploaderctl ip [-force] -batch FILE
XDP := { xdp | xdpgeneric | xdpdrv | xdpoffload }

Words, abbreviations and exit statuses are those of ip(8). With a running daemon the attachment is the daemon's, unless
--direct is given. What is not about XDP is done by the real ip. See xdploaderctl-ip(8).
"""


def run(argv: Sequence[str]) -> int:
    """Run one command line of `ip` (without its name) and return the exit status."""
    if list(argv) == ["--help"]:
        write_out(USAGE.rstrip())
        return 0
    return run_tool(_TOOL, lambda: _run(parse_options(argv)), failed=EXIT_WORDS)


def _run(command: IpCommand) -> int:
    if command.netns:
        enter_namespace(command.netns)
    if command.batch:
        return _batch(command)
    return _run_words(command)


def _run_words(command: IpCommand) -> int:
    if is_link_set(command.words):
        wanted = parse_link_set(command.words[2:])
        if wanted.clauses:
            return _link_set(command, wanted)
    if is_link_show(command.words) and (command.direct or not dispatch.real_tool(_TOOL)):
        show(command, command.words[2:], Bpf())
        return 0
    return pass_on(command)


def is_link_set(words: Sequence[str]) -> bool:
    """Tell whether words are `link set` in any length; `a` and `d` are add and delete."""
    return len(words) > 1 and matches(words[0], "link") and (matches(words[1], "set") or matches(words[1], "change"))


def is_link_show(words: Sequence[str]) -> bool:
    """Tell whether words are `link`, alone or with `show` or `list` in any length."""
    if not words or not matches(words[0], "link"):
        return False
    return len(words) == 1 or any(matches(words[1], word) for word in ("show", "lst", "list"))


def _link_set(command: IpCommand, wanted: LinkSet) -> int:
    if not wanted.dev:
        raise refused("no interface is named, want dev DEV")
    client = None if command.direct or command.netns or not _is_for_daemon(wanted) else find_daemon(command.socket)
    if client is None:
        check_direct(find_interface(wanted.dev), command.socket)
        with held_signals() as check:  # one that ends us undoes what is half done
            link_set(command, wanted, Bpf(checked_before(check)), partial(say, _TOOL))
        return 0
    others = [part for part in wanted.parts if isinstance(part, str)]
    if not wanted.alone and (status := _call_real(command, ("link", "set", *others))):
        return status
    carry_out(client, find_interface(wanted.dev), wanted.clauses[0], force=command.force, say=partial(say, _TOOL))
    return 0


def _is_for_daemon(wanted: LinkSet) -> bool:
    """Tell whether the daemon can be asked: for one program of a file, on an interface that keeps name and place."""
    return len(wanted.clauses) == 1 and takes(wanted.clauses[0]) and _MOVING.isdisjoint(wanted.parts)


def _batch(command: IpCommand) -> int:
    return run_batch(
        command.batch,
        read_batch(command.batch),
        Runners(
            ours=lambda line: is_link_set(line.words) and not set(dispatch.XDP_WORDS).isdisjoint(line.words),
            run_own=partial(_run_line, command),
            run_real=lambda text: _call_real(command, ("-batch", STANDARD_INPUT), text=text),
            say=partial(say, _TOOL),
        ),
        force=command.force,
    )


def _run_line(command: IpCommand, line: BatchLine) -> int:
    return run_tool(_TOOL, lambda: _run_words(replace(command, words=line.words)), failed=EXIT_WORDS)


def pass_on(command: IpCommand) -> int:
    """Let the real tool do it, and return its exit status."""
    return _call_real(command, command.words)


def _call_real(command: IpCommand, words: Sequence[str], *, text: str | None = None) -> int:
    real = dispatch.real_tool(_TOOL)
    if not real:
        what = " ".join(words[:2])
        raise FeatureMissingError(f"{quoted(what)} is the real 'ip's, which is not in PATH", feature=_TOOL)
    argv = [real, *command.options, *words]
    done = subprocess.run(argv, env=dispatch.environment(), check=False, input=text, text=True)  # noqa: S603 - as asked
    return done.returncode

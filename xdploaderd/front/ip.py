"""`ip` as we do it: XDP is ours, with the daemon where one answers; everything else is the real tool's."""

import subprocess
from collections.abc import Sequence

from xdploaderd.errors import FeatureMissingError
from xdploaderd.front import dispatch
from xdploaderd.front.ip_options import IpCommand, parse_options
from xdploaderd.front.ip_words import parse_link_set
from xdploaderd.front.ip_xdp import link_set
from xdploaderd.front.outcome import run_tool, say
from xdploaderd.front.words import EXIT_WORDS, matches, refused
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.printable import quoted

_TOOL = "ip"


def run(argv: Sequence[str]) -> int:
    """Run one command line of `ip` (without its name) and return the exit status."""
    return run_tool(_TOOL, lambda: _run(parse_options(argv)), failed=EXIT_WORDS)


def _run(command: IpCommand) -> int:
    if _is_link_set(command):
        return _link_set(command)
    return pass_on(command)


def _is_link_set(command: IpCommand) -> bool:
    return len(command.words) > 1 and matches(command.words[0], "link") and _is_set(command.words[1])


def _is_set(word: str) -> bool:
    """Tell whether `ip link WORD` sets; `a` and `d` are add and delete."""
    return matches(word, "set") or matches(word, "change")


def _link_set(command: IpCommand) -> int:
    wanted = parse_link_set(command.words[2:])
    if not wanted.clauses:
        return pass_on(command)
    if not wanted.dev:
        raise refused("no interface is named, want dev DEV")
    link_set(command, wanted, Bpf(), lambda line: say(_TOOL, line))
    return 0


def pass_on(command: IpCommand) -> int:
    """Let the real tool do it, and return its exit status."""
    real = dispatch.real_tool(_TOOL)
    if not real:
        what = " ".join(command.words[:2])
        raise FeatureMissingError(f"{quoted(what)} is the real 'ip's, which is not in PATH", feature=_TOOL)
    argv = [real, *command.options, *command.words]
    return subprocess.run(argv, env=dispatch.environment(), check=False).returncode  # noqa: S603 - the tool asked for

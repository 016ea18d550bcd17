"""`ip link set ... xdp` without the daemon: programs loaded, and attached by netlink or with the real `ip`'s help.

Mirrors xdp_parse of iproute2 ip/iplink_xdp.c. A command that sets other things too goes to the real `ip` in one piece,
each loaded program named by a pin that lasts as long as it runs: so the kernel gets one message, as ever.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath

from xdploaderd.errors import FeatureMissingError, PinError
from xdploaderd.front import dispatch
from xdploaderd.front.bpf_root import find_root
from xdploaderd.front.ip_options import IpCommand
from xdploaderd.front.ip_words import LinkSet, XdpClause
from xdploaderd.front.kept_arrays import drop_arrays
from xdploaderd.front.links import find_interface, set_xdp
from xdploaderd.front.load import HookProgram, Say, load_for_hook
from xdploaderd.front.pinned_for_now import pin_for_now
from xdploaderd.front.words import refused
from xdploaderd.hooks import XdpMode
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.pinning_files import read_pinning
from xdploaderd.net.door import NOTHING

_LINK_SET = ("link", "set")


def link_set(command: IpCommand, wanted: LinkSet, bpf: Bpf, say: Say) -> None:
    """Carry out the XDP clauses of `ip link set` and what else it sets. Raises LoaderError; then nothing is left."""
    interface = find_interface(wanted.dev)
    with ExitStack() as stack:
        loaded = {
            clause: stack.enter_context(
                load_for_hook(
                    clause.spec, bpf, say=say, ifindex=interface.index if clause.mode is XdpMode.OFFLOAD else 0
                )
            )
            for clause in wanted.clauses
            if clause.spec
        }
        if wanted.alone:
            last = wanted.clauses[-1]
            fd = loaded[last].fd.fileno() if last in loaded else NOTHING
            set_xdp(interface, fd, last.mode, force=command.force)
        else:
            _by_real_ip(command, wanted, loaded, bpf)
    clean_up(bpf)


def clean_up(bpf: Bpf) -> None:
    """Remove the kept arrays of programs that are gone."""
    try:
        drop_arrays(bpf, find_root(read_pinning().root, os.environ, mount=False))
    except PinError:  # none is there, or somebody else's: a matter of the next load
        return


def _by_real_ip(command: IpCommand, wanted: LinkSet, loaded: dict[XdpClause, HookProgram], bpf: Bpf) -> None:
    real = dispatch.real_tool("ip")
    if not real:
        raise FeatureMissingError("the real 'ip' is not in PATH, wanted for what is no XDP", feature="ip")
    with ExitStack() as pinned:
        paths = {clause: pin_for_now(program, bpf, at, pinned) for at, (clause, program) in enumerate(loaded.items())}
        words = [word for part in wanted.parts for word in _words_of(part, paths)]
        argv = [real, *command.options, *_LINK_SET, *words]
        status = subprocess.run(argv, env=dispatch.environment(), check=False).returncode  # noqa: S603 - the tool asked for
    if status:
        raise refused(f"'{real}' failed", status=status)


def _words_of(part: str | XdpClause, paths: dict[XdpClause, PurePosixPath]) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif part.spec is None:
        yield from (part.word, "off")
    else:
        yield from (part.word, "pinned", str(paths[part]))

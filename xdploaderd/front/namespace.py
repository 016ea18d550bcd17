"""Named network namespaces, entered without ip-netns(8)'s mounts: pins stay where they are."""

import os

from xdploaderd.front.words import refused
from xdploaderd.kernel.syscall import enter_net_namespace
from xdploaderd.printable import quoted

_NAMESPACES = "/run/netns"


def enter_namespace(name: str) -> None:
    """Let this thread, and what it runs, be in a network namespace that `ip netns add` made. Raises UsageError."""
    try:
        enter_net_namespace(os.path.join(_NAMESPACES, name))
    except OSError as error:
        raise refused(f"network namespace {quoted(name)}: {os.strerror(error.errno or 0).lower()}") from None

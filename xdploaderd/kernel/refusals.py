"""What a refusal of bpf(2) means: the errno in words, with what is behind it for this command and this process."""

import errno

from xdploaderd.errors import KernelError
from xdploaderd.kernel.hints import permission_hint
from xdploaderd.kernel.syscall import errno_text
from xdploaderd.uapi.bpf import BpfCmd

# What is behind the errno of LINK_CREATE and LINK_UPDATE for XDP and TCX (net/core/dev.c, kernel/bpf/tcx.c, mprog.c).
_OF_LINKS = {
    errno.EBUSY: "another program or link is there",
    errno.EEXIST: "that program is attached already, or XDP in another mode is",
    errno.ENODEV: "there is no such interface",
    errno.ENOLINK: "the link was detached, or its interface is gone",
    errno.ESTALE: "the programs there are no longer those of the expected revision",
    errno.ERANGE: "there are as many programs as the hook takes",
}


def kernel_error(cmd: BpfCmd, code: int, what: str) -> KernelError:
    """Return the error for a command that failed with the errno `code`; `what` begins its message."""
    message = f"{what}: {errno_text(code).lower()}"
    if code == errno.EPERM and (hint := permission_hint()):
        message += f"; {hint}"
    if cmd in (BpfCmd.LINK_CREATE, BpfCmd.LINK_UPDATE) and code in _OF_LINKS:
        message += f": {_OF_LINKS[code]}"
    return KernelError(message, operation=f"BPF_{cmd.name}", errno=code)

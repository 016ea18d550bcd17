"""What strace(1) saw of a process that changes the kernel: bpf(2), rtnetlink, and anything on the BPF file system."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import BPFFS

_CALLS = (
    "bpf,sendto,sendmsg,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat"
)
_READS = ("BPF_OBJ_GET", "_GET_", "BPF_PROG_QUERY", "BPF_MAP_LOOKUP")
_UNTOLD = re.compile(
    r'send\w+\(\d+<[^>]*>, "(?:\\.{1,3}|[^\\])(?:\\0){3}'
)  # begins with the length of a netlink message
_VERBS = ("nlmsg_type=RTM_NEW", "nlmsg_type=RTM_SET", "nlmsg_type=RTM_DEL")


def to_file(trace: Path) -> Sequence[str]:
    """Return strace's words to write all that kernel_writes() goes by."""
    calls = ",".join(f"?{call}" for call in _CALLS.split(","))
    return ("-f", "-y", "-s", "200", "-o", str(trace), "-e", f"trace={calls}")


def kernel_writes(trace: Path) -> list[str]:
    """Return the calls in a trace that change anything in the kernel, or below the BPF file system."""
    lines = trace.read_text().splitlines()
    untold = [line for line in lines if _UNTOLD.search(line)]
    assert not untold, f"strace cannot tell netlink messages without the module netlink_diag: {untold[0]}"
    return [line for line in lines if _writes(line)]


def _writes(line: str) -> bool:
    if "bpf(BPF_" in line:
        return not any(word in line for word in _READS)
    if "send" in line.partition("(")[0]:  # an answer to a client may name a path
        return any(verb in line for verb in _VERBS)
    return str(BPFFS) in line

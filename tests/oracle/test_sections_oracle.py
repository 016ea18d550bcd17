"""Section names asked of libbpf and of our table."""

import ctypes

import pytest

from tests.support.tools import libbpf
from xdploaderd.obj.sections import SECTION_TABLE

pytestmark = pytest.mark.oracle

# Names that libbpf has only after 1.1, the release this test is run against.
NEWER = frozenset(
    {
        "tc/ingress",
        "tc/egress",
        "tcx/ingress",
        "tcx/egress",
        "netkit/primary",
        "netkit/peer",
        "sk_skb/verdict",
        "netfilter",
        "cgroup/connect_unix",
        "cgroup/sendmsg_unix",
        "cgroup/recvmsg_unix",
        "cgroup/getpeername_unix",
        "cgroup/getsockname_unix",
        "struct_ops.s+",
        "kprobe.session+",
        "uprobe.multi+",
        "uprobe.multi.s+",
        "uretprobe.multi+",
        "uretprobe.multi.s+",
        "uprobe.session+",
        "uprobe.session.s+",
        "usdt.s+",
        "tp.s+",
        "tracepoint.s+",
        "raw_tp.s+",
        "raw_tracepoint.s+",
        "tp_btf.s+",
    }
)


def test_every_section_means_to_libbpf_what_it_means_to_us() -> None:
    library = libbpf()
    library.libbpf_set_print(None)
    differing, unknown = [], set()
    for name, sec_def in SECTION_TABLE.items():
        prog_type, attach_type = ctypes.c_int(), ctypes.c_int()
        section = name.replace("+", "/target").encode()
        if library.libbpf_prog_type_by_name(section, ctypes.byref(prog_type), ctypes.byref(attach_type)):
            unknown.add(name)
        elif (prog_type.value, attach_type.value) != (sec_def.prog_type, sec_def.attach_type or 0):
            differing.append((name, prog_type.value, attach_type.value))
    assert differing == []
    assert unknown <= NEWER

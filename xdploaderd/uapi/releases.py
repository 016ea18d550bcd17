"""Since which Linux there is what an object may ask for, as far as supported kernels differ (include/uapi/linux/bpf.h).

Releases are only told to users: what a kernel can do is found out by asking it.
"""

import re

from xdploaderd.uapi.bpf import AttachType, Helper, MapType, ProgType

_RELEASE = re.compile(r"(\d+)\.(\d+)")
XDP_FRAGS_SINCE = "5.18"
ATOMICS_SINCE = "5.12"

MAP_TYPES_SINCE: dict[int, str] = {
    MapType.SK_STORAGE: "5.2",
    MapType.DEVMAP_HASH: "5.4",
    MapType.STRUCT_OPS: "5.6",
    MapType.RINGBUF: "5.8",
    MapType.INODE_STORAGE: "5.10",
    MapType.TASK_STORAGE: "5.11",
    MapType.BLOOM_FILTER: "5.16",
    MapType.USER_RINGBUF: "6.1",
    MapType.CGRP_STORAGE: "6.2",
    MapType.ARENA: "6.9",
}
PROG_TYPES_SINCE: dict[int, str] = {
    ProgType.TRACING: "5.5",
    ProgType.STRUCT_OPS: "5.6",
    ProgType.EXT: "5.6",
    ProgType.LSM: "5.7",
    ProgType.SK_LOOKUP: "5.9",
    ProgType.SYSCALL: "5.14",
    ProgType.NETFILTER: "6.4",
}
ATTACH_TYPES_SINCE: dict[int, str] = {
    AttachType.XDP_DEVMAP: "5.8",
    AttachType.XDP_CPUMAP: "5.9",
    AttachType.SK_LOOKUP: "5.9",
    AttachType.SK_SKB_VERDICT: "5.13",
    AttachType.SK_REUSEPORT_SELECT: "5.14",
    AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE: "5.14",
    AttachType.PERF_EVENT: "5.15",
    AttachType.TRACE_KPROBE_MULTI: "5.18",
    AttachType.LSM_CGROUP: "6.0",
    AttachType.STRUCT_OPS: "6.4",
    AttachType.NETFILTER: "6.4",
    AttachType.TCX_INGRESS: "6.6",
    AttachType.TCX_EGRESS: "6.6",
    AttachType.TRACE_UPROBE_MULTI: "6.6",
    AttachType.CGROUP_UNIX_CONNECT: "6.7",
    AttachType.CGROUP_UNIX_SENDMSG: "6.7",
    AttachType.CGROUP_UNIX_RECVMSG: "6.7",
    AttachType.CGROUP_UNIX_GETPEERNAME: "6.7",
    AttachType.CGROUP_UNIX_GETSOCKNAME: "6.7",
    AttachType.NETKIT_PRIMARY: "6.7",
    AttachType.NETKIT_PEER: "6.7",
    AttachType.TRACE_KPROBE_SESSION: "6.10",
    AttachType.TRACE_UPROBE_SESSION: "6.13",
}
# Helpers have ascending numbers: the first of each release, newest release first. None came after 6.2.
_FIRST_HELPERS = (
    (Helper.cgrp_storage_get, "6.2"),
    (Helper.ktime_get_tai_ns, "6.1"),
    (Helper.tcp_raw_gen_syncookie_ipv4, "6.0"),
    (Helper.kptr_xchg, "5.19"),
    (Helper.get_retval, "5.18"),
    (Helper.find_vma, "5.17"),
    (Helper.get_branch_snapshot, "5.16"),
    (Helper.timer_init, "5.15"),
    (Helper.sys_bpf, "5.14"),
    (Helper.for_each_map_elem, "5.13"),
    (Helper.check_mtu, "5.12"),
    (Helper.task_storage_get, "5.11"),
    (Helper.load_hdr_opt, "5.10"),
    (Helper.skc_to_tcp6_sock, "5.9"),
    (Helper.ringbuf_output, "5.8"),
)


def helper_since(helper: Helper) -> str:
    """Return the release that brought a helper, empty for those that every supported kernel has."""
    return next((since for first, since in _FIRST_HELPERS if helper >= first), "")


def parse_release(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a release such as 6.1.0-56-amd64; None where it begins with none."""
    found = _RELEASE.match(text)
    return (int(found[1]), int(found[2])) if found else None

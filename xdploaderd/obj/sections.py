"""SEC() names: which program type and attach type each one means (libbpf.c, section_defs).

Names ending in `+` match exactly, or with `/` and an attach target behind; all others match exactly. Where nothing
matches, the sloppy prefixes of libbpf before 1.0 are a second table of their own, since the two must be told apart.
"""

from typing import NamedTuple

from xdploaderd.uapi.bpf import AttachType, ProgFlags, ProgType

FROM_TABLE = "section table"
FROM_PREFIX = "section prefix"


class SecDef(NamedTuple):
    """What a section name says of its programs; `btf_target`: the text after `/` is looked up in a BTF."""

    prog_type: ProgType
    attach_type: AttachType | None = None
    prog_flags: int = 0
    btf_target: bool = False


class SecMatch(NamedTuple):
    """A section name understood: `target` is the text after the first `/`, `source` the table it was found in."""

    sec_def: SecDef
    target: str
    source: str


_FRAGS = int(ProgFlags.XDP_HAS_FRAGS)
_SLEEPABLE = int(ProgFlags.SLEEPABLE)


def _plain(prog_type: ProgType, names: str) -> dict[str, SecDef]:
    return {name: SecDef(prog_type) for name in names.split()}


def _attached(prog_type: ProgType, **attach_types: str) -> dict[str, SecDef]:
    return {names: SecDef(prog_type, AttachType[attach]) for attach, names in attach_types.items()}


def _traced(prog_type: ProgType, attach_type: AttachType, name: str) -> dict[str, SecDef]:
    """Return the plain and the sleepable form of a section whose target is a function of the kernel."""
    return {
        f"{name}+": SecDef(prog_type, attach_type, btf_target=True),
        f"{name}.s+": SecDef(prog_type, attach_type, _SLEEPABLE, btf_target=True),
    }


_NETWORK = {
    "xdp": SecDef(ProgType.XDP, AttachType.XDP),
    "xdp.frags": SecDef(ProgType.XDP, AttachType.XDP, _FRAGS),
    "xdp/devmap": SecDef(ProgType.XDP, AttachType.XDP_DEVMAP),
    "xdp.frags/devmap": SecDef(ProgType.XDP, AttachType.XDP_DEVMAP, _FRAGS),
    "xdp/cpumap": SecDef(ProgType.XDP, AttachType.XDP_CPUMAP),
    "xdp.frags/cpumap": SecDef(ProgType.XDP, AttachType.XDP_CPUMAP, _FRAGS),
    "tc/ingress": SecDef(ProgType.SCHED_CLS, AttachType.TCX_INGRESS),
    "tcx/ingress": SecDef(ProgType.SCHED_CLS, AttachType.TCX_INGRESS),
    "tc/egress": SecDef(ProgType.SCHED_CLS, AttachType.TCX_EGRESS),
    "tcx/egress": SecDef(ProgType.SCHED_CLS, AttachType.TCX_EGRESS),
    "netkit/primary": SecDef(ProgType.SCHED_CLS, AttachType.NETKIT_PRIMARY),
    "netkit/peer": SecDef(ProgType.SCHED_CLS, AttachType.NETKIT_PEER),
    **_plain(ProgType.SCHED_CLS, "tc classifier"),
    **_plain(ProgType.SCHED_ACT, "action"),
    **_plain(ProgType.LWT_IN, "lwt_in"),
    **_plain(ProgType.LWT_OUT, "lwt_out"),
    **_plain(ProgType.LWT_XMIT, "lwt_xmit"),
    **_plain(ProgType.LWT_SEG6LOCAL, "lwt_seg6local"),
    "netfilter": SecDef(ProgType.NETFILTER, AttachType.NETFILTER),
    "flow_dissector": SecDef(ProgType.FLOW_DISSECTOR, AttachType.FLOW_DISSECTOR),
}

_SOCKET = {
    **_plain(ProgType.SOCKET_FILTER, "socket"),
    **_plain(ProgType.SK_SKB, "sk_skb"),
    **_attached(
        ProgType.SK_REUSEPORT,
        SK_REUSEPORT_SELECT_OR_MIGRATE="sk_reuseport/migrate",
        SK_REUSEPORT_SELECT="sk_reuseport",
    ),
    **_attached(
        ProgType.SK_SKB,
        SK_SKB_STREAM_PARSER="sk_skb/stream_parser",
        SK_SKB_STREAM_VERDICT="sk_skb/stream_verdict",
        SK_SKB_VERDICT="sk_skb/verdict",
    ),
    "sockops": SecDef(ProgType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    "sk_msg": SecDef(ProgType.SK_MSG, AttachType.SK_MSG_VERDICT),
    "sk_lookup": SecDef(ProgType.SK_LOOKUP, AttachType.SK_LOOKUP),
}

_CGROUP = {
    **_plain(ProgType.CGROUP_SKB, "cgroup/skb"),
    **_attached(
        ProgType.CGROUP_SKB,
        CGROUP_INET_INGRESS="cgroup_skb/ingress",
        CGROUP_INET_EGRESS="cgroup_skb/egress",
    ),
    "cgroup/sock": SecDef(ProgType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
    **_attached(
        ProgType.CGROUP_SOCK,
        CGROUP_INET_SOCK_CREATE="cgroup/sock_create",
        CGROUP_INET_SOCK_RELEASE="cgroup/sock_release",
        CGROUP_INET4_POST_BIND="cgroup/post_bind4",
        CGROUP_INET6_POST_BIND="cgroup/post_bind6",
    ),
    **_attached(
        ProgType.CGROUP_SOCK_ADDR,
        CGROUP_INET4_BIND="cgroup/bind4",
        CGROUP_INET6_BIND="cgroup/bind6",
        CGROUP_INET4_CONNECT="cgroup/connect4",
        CGROUP_INET6_CONNECT="cgroup/connect6",
        CGROUP_UNIX_CONNECT="cgroup/connect_unix",
        CGROUP_UDP4_SENDMSG="cgroup/sendmsg4",
        CGROUP_UDP6_SENDMSG="cgroup/sendmsg6",
        CGROUP_UNIX_SENDMSG="cgroup/sendmsg_unix",
        CGROUP_UDP4_RECVMSG="cgroup/recvmsg4",
        CGROUP_UDP6_RECVMSG="cgroup/recvmsg6",
        CGROUP_UNIX_RECVMSG="cgroup/recvmsg_unix",
        CGROUP_INET4_GETPEERNAME="cgroup/getpeername4",
        CGROUP_INET6_GETPEERNAME="cgroup/getpeername6",
        CGROUP_UNIX_GETPEERNAME="cgroup/getpeername_unix",
        CGROUP_INET4_GETSOCKNAME="cgroup/getsockname4",
        CGROUP_INET6_GETSOCKNAME="cgroup/getsockname6",
        CGROUP_UNIX_GETSOCKNAME="cgroup/getsockname_unix",
    ),
    "cgroup/sysctl": SecDef(ProgType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL),
    "cgroup/getsockopt": SecDef(ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT),
    "cgroup/setsockopt": SecDef(ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_SETSOCKOPT),
    "cgroup/dev": SecDef(ProgType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE),
}

_KPROBE_MULTI = {
    "kprobe.multi+": SecDef(ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    "kretprobe.multi+": SecDef(ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI),
    "kprobe.session+": SecDef(ProgType.KPROBE, AttachType.TRACE_KPROBE_SESSION),
    "uprobe.multi+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
    "uretprobe.multi+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI),
    "uprobe.session+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_SESSION),
    "uprobe.multi.s+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, _SLEEPABLE),
    "uretprobe.multi.s+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, _SLEEPABLE),
    "uprobe.session.s+": SecDef(ProgType.KPROBE, AttachType.TRACE_UPROBE_SESSION, _SLEEPABLE),
}

_TRACING = {
    **_plain(ProgType.KPROBE, "kprobe+ kretprobe+ uprobe+ uretprobe+ ksyscall+ kretsyscall+ usdt+"),
    **{name: SecDef(ProgType.KPROBE, None, _SLEEPABLE) for name in ("uprobe.s+", "uretprobe.s+", "usdt.s+")},
    **_KPROBE_MULTI,
    **_plain(ProgType.TRACEPOINT, "tracepoint+ tp+"),
    **{name: SecDef(ProgType.TRACEPOINT, None, _SLEEPABLE) for name in ("tracepoint.s+", "tp.s+")},
    **_plain(ProgType.RAW_TRACEPOINT, "raw_tracepoint+ raw_tp+"),
    **{name: SecDef(ProgType.RAW_TRACEPOINT, None, _SLEEPABLE) for name in ("raw_tracepoint.s+", "raw_tp.s+")},
    **_plain(ProgType.RAW_TRACEPOINT_WRITABLE, "raw_tracepoint.w+ raw_tp.w+"),
    **_plain(ProgType.PERF_EVENT, "perf_event"),
    "lirc_mode2": SecDef(ProgType.LIRC_MODE2, AttachType.LIRC_MODE2),
    **_traced(ProgType.TRACING, AttachType.TRACE_FENTRY, "fentry"),
    **_traced(ProgType.TRACING, AttachType.TRACE_FEXIT, "fexit"),
    **_traced(ProgType.TRACING, AttachType.MODIFY_RETURN, "fmod_ret"),
    **_traced(ProgType.TRACING, AttachType.TRACE_RAW_TP, "tp_btf"),
    **_traced(ProgType.TRACING, AttachType.TRACE_ITER, "iter"),
    **_traced(ProgType.LSM, AttachType.LSM_MAC, "lsm"),
    "lsm_cgroup+": SecDef(ProgType.LSM, AttachType.LSM_CGROUP, btf_target=True),
    "freplace+": SecDef(ProgType.EXT, None, btf_target=True),
    "struct_ops+": SecDef(ProgType.STRUCT_OPS),
    "struct_ops.s+": SecDef(ProgType.STRUCT_OPS, None, _SLEEPABLE),
    "syscall": SecDef(ProgType.SYSCALL, None, _SLEEPABLE),
}

SECTION_TABLE = {**_NETWORK, **_SOCKET, **_CGROUP, **_TRACING}

# Longest first; what the names meant to libbpf before 1.0, when matching stopped at the prefix.
PREFIX_TABLE = {
    "xdp.frags/devmap": SecDef(ProgType.XDP, AttachType.XDP_DEVMAP, _FRAGS),
    "xdp.frags/cpumap": SecDef(ProgType.XDP, AttachType.XDP_CPUMAP, _FRAGS),
    "xdp.frags": SecDef(ProgType.XDP, AttachType.XDP, _FRAGS),
    "xdp/devmap": SecDef(ProgType.XDP, AttachType.XDP_DEVMAP),
    "xdp_devmap/": SecDef(ProgType.XDP, AttachType.XDP_DEVMAP),
    "xdp/cpumap": SecDef(ProgType.XDP, AttachType.XDP_CPUMAP),
    "xdp_cpumap/": SecDef(ProgType.XDP, AttachType.XDP_CPUMAP),
    "xdp": SecDef(ProgType.XDP, AttachType.XDP),
    "classifier": SecDef(ProgType.SCHED_CLS),
    "action": SecDef(ProgType.SCHED_ACT),
    "tc": SecDef(ProgType.SCHED_CLS),
}


def find_sec_def(section: str) -> SecMatch | None:
    """Return what a section name (without a leading `?`) says of its programs; None when it says nothing."""
    exact = SECTION_TABLE.get(section) or SECTION_TABLE.get(f"{section}+")
    if exact is not None:
        return SecMatch(exact, "", FROM_TABLE)
    head, slash, target = section.partition("/")
    sec_def = SECTION_TABLE.get(f"{head}+") if slash else None
    if sec_def is not None:
        return SecMatch(sec_def, target, FROM_TABLE)
    for prefix, loose in PREFIX_TABLE.items():
        if section.startswith(prefix):
            return SecMatch(loose, "", FROM_PREFIX)
    return None

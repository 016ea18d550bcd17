"""Which capabilities loading an object takes (kernel/bpf/syscall.c: bpf_prog_load, map_create; capabilities(7))."""

from collections.abc import Iterable, Iterator

from xdploaderd.obj.spec import ExternKind, MapSpec, ObjectSpec
from xdploaderd.uapi.bpf import Helper, MapType, ProgType

CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON = "CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"
CAP_SYS_ADMIN, CAP_SYSLOG, CAP_SYS_RESOURCE = "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_SYS_RESOURCE"
NO_CAP_BPF_BEFORE = (5, 8)  # CAP_SYS_ADMIN stood for it and for CAP_PERFMON
MEMLOCK_BEFORE = (5, 11)

# is_net_admin_prog_type and is_perfmon_prog_type of kernel/bpf/syscall.c
_NET_ADMIN_PROGS = frozenset(
    {
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.XDP,
        ProgType.LWT_IN,
        ProgType.LWT_OUT,
        ProgType.LWT_XMIT,
        ProgType.LWT_SEG6LOCAL,
        ProgType.SK_SKB,
        ProgType.SK_MSG,
        ProgType.FLOW_DISSECTOR,
        ProgType.CGROUP_DEVICE,
        ProgType.CGROUP_SOCK,
        ProgType.CGROUP_SOCK_ADDR,
        ProgType.CGROUP_SOCKOPT,
        ProgType.CGROUP_SYSCTL,
        ProgType.SOCK_OPS,
        ProgType.EXT,
        ProgType.NETFILTER,
    }
)
_PERFMON_PROGS = frozenset(
    {
        ProgType.KPROBE,
        ProgType.TRACEPOINT,
        ProgType.PERF_EVENT,
        ProgType.RAW_TRACEPOINT,
        ProgType.RAW_TRACEPOINT_WRITABLE,
        ProgType.TRACING,
        ProgType.LSM,
        ProgType.STRUCT_OPS,
        ProgType.EXT,
    }
)
_NET_ADMIN_MAPS = frozenset({MapType.SOCKMAP, MapType.SOCKHASH, MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.XSKMAP})
# bpf_base_func_proto gives these to the perfmon-capable alone.
_PERFMON_HELPERS = frozenset(
    {
        Helper.trace_printk,
        Helper.get_current_task,
        Helper.get_current_task_btf,
        Helper.probe_read_user,
        Helper.probe_read_kernel,
        Helper.probe_read_user_str,
        Helper.probe_read_kernel_str,
        Helper.snprintf_btf,
        Helper.snprintf,
        Helper.task_pt_regs,
        Helper.trace_vprintk,
    }
)


def needed_capabilities(
    obj: ObjectSpec, helpers: Iterable[int], *, modules: bool, release: tuple[int, int] | None
) -> dict[str, str]:
    """Return the capabilities with the first reason for each; `modules`: BTFs of modules are referred to.

    `release` None: a kernel of this decade is meant, which has CAP_BPF and counts BPF memory by memory cgroup.
    """
    wanted: dict[str, str] = {}
    for capability, reason in _reasons(obj, helpers, modules=modules):
        wanted.setdefault(capability, reason)
    if release and release < NO_CAP_BPF_BEFORE:
        split = [name for name in (CAP_BPF, CAP_PERFMON) if name in wanted]
        if split:
            wanted.setdefault(CAP_SYS_ADMIN, f"before Linux 5.8 it stands for {' and '.join(split)}")
        for name in split:
            del wanted[name]
    if release and release < MEMLOCK_BEFORE and wanted:
        wanted.setdefault(CAP_SYS_RESOURCE, "before Linux 5.11 maps count against RLIMIT_MEMLOCK")
    return wanted


def _reasons(obj: ObjectSpec, helpers: Iterable[int], *, modules: bool) -> Iterator[tuple[str, str]]:
    programs = [program for program in obj.programs.values() if program.autoload]
    for program in programs:
        yield CAP_BPF, f"program '{program.name}'"
        if program.type in _NET_ADMIN_PROGS:
            yield CAP_NET_ADMIN, f"program '{program.name}'"
        if program.type in _PERFMON_PROGS:
            yield CAP_PERFMON, f"program '{program.name}'"
    for spec in _all_maps(obj):
        yield CAP_BPF, f"map '{spec.name}'"
        if spec.type in _NET_ADMIN_MAPS:
            yield CAP_NET_ADMIN, f"map '{spec.name}'"
    for helper in sorted(_PERFMON_HELPERS.intersection(helpers)):
        yield CAP_PERFMON, f"helper bpf_{Helper(helper).name}"
    for extern in obj.externs.values():
        if extern.kind is ExternKind.KSYM_TYPELESS:
            yield CAP_SYSLOG, f"extern '{extern.name}': addresses in /proc/kallsyms"
    if modules:
        yield CAP_SYS_ADMIN, "the BTF of a module, by its id"


def _all_maps(obj: ObjectSpec) -> Iterator[MapSpec]:
    for spec in obj.maps.values():
        if spec.autocreate:
            yield spec
            if spec.inner:
                yield spec.inner

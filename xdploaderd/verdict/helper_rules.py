"""Which helpers XDP and tc programs may call, and which only under a license compatible with the GPL.

Mirrors Linux 6.18: xdp_func_proto and tc_cls_act_func_proto of net/core/filter.c with what they fall back on, gpl_only
of struct bpf_func_proto, and kernel/bpf/core.c for licenses. No release took a helper away from a type; some gave.
"""

from collections.abc import Mapping

from xdploaderd.uapi.bpf import Helper, ProgType

NEWEST_KNOWN = (6, 18)
# license_is_gpl_compatible() of include/linux/license.h
_GPL_LICENSES = frozenset(
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)
# The whole program is refused: bpf_lsm_verify_prog(), check_struct_ops_btf_id().
GPL_ONLY_TYPES = frozenset({ProgType.LSM, ProgType.STRUCT_OPS})


def is_gpl_compatible(license_text: str) -> bool:
    """Tell whether the kernel takes a license for one that is compatible with the GPL."""
    return license_text in _GPL_LICENSES


def _named(names: str) -> frozenset[int]:
    return frozenset(Helper[name] for name in names.split())


_ANY_PACKET = _named(
    "map_lookup_elem map_update_elem map_delete_elem ktime_get_ns trace_printk get_prandom_u32 "
    "get_smp_processor_id tail_call get_current_pid_tgid get_current_uid_gid get_current_comm "
    "get_cgroup_classid perf_event_read redirect perf_event_output csum_diff get_current_task "
    "current_task_under_cgroup get_numa_node_id perf_event_read_value fib_lookup get_current_cgroup_id "
    "sk_lookup_tcp sk_lookup_udp sk_release map_push_elem map_pop_elem map_peek_elem spin_lock spin_unlock "
    "skc_lookup_tcp tcp_check_syncookie strtol strtoul send_signal tcp_gen_syncookie probe_read_user "
    "probe_read_kernel probe_read_user_str probe_read_kernel_str send_signal_thread jiffies64 "
    "get_ns_current_pid_tgid get_current_ancestor_cgroup_id ktime_get_boot_ns ringbuf_output ringbuf_reserve "
    "ringbuf_submit ringbuf_discard ringbuf_query skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock "
    "skc_to_tcp_request_sock skc_to_udp6_sock get_task_stack copy_from_user snprintf_btf per_cpu_ptr "
    "this_cpu_ptr task_storage_get task_storage_delete get_current_task_btf ktime_get_coarse_ns check_mtu "
    "for_each_map_elem snprintf timer_init timer_set_callback timer_start timer_cancel task_pt_regs "
    "get_branch_snapshot trace_vprintk skc_to_unix_sock find_vma loop strncmp copy_from_user_task kptr_xchg "
    "map_lookup_percpu_elem skc_to_mptcp_sock dynptr_from_mem ringbuf_reserve_dynptr ringbuf_submit_dynptr "
    "ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data tcp_raw_gen_syncookie_ipv4 "
    "tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6 ktime_get_tai_ns "
    "user_ringbuf_drain cgrp_storage_get cgrp_storage_delete "
)
_XDP = _named(
    "xdp_adjust_head redirect_map xdp_adjust_meta xdp_adjust_tail xdp_get_buff_len xdp_load_bytes xdp_store_bytes "
)
_TC = _named(
    "skb_store_bytes l3_csum_replace l4_csum_replace clone_redirect skb_vlan_push skb_vlan_pop "
    "skb_get_tunnel_key skb_set_tunnel_key get_route_realm skb_load_bytes skb_get_tunnel_opt "
    "skb_set_tunnel_opt skb_change_proto skb_change_type skb_under_cgroup get_hash_recalc skb_change_tail "
    "skb_pull_data csum_update set_hash_invalid skb_change_head get_socket_cookie get_socket_uid set_hash "
    "skb_adjust_room skb_get_xfrm_state skb_load_bytes_relative skb_cgroup_id skb_ancestor_cgroup_id "
    "sk_fullsock tcp_sock skb_ecn_set_ce get_listener_sock sk_storage_get sk_storage_delete get_netns_cookie "
    "sk_assign csum_level skb_cgroup_classid redirect_neigh redirect_peer skb_set_tstamp "
)
# Since 5.10 none of them changed. What differs from type to type (get_stackid, get_stack, get_func_ip) is left out.
GPL_ONLY_HELPERS = _named(
    "probe_read probe_read_str probe_write_user override_return perf_prog_read_value read_branch_records "
    "perf_event_read perf_event_output perf_event_read_value trace_printk trace_vprintk get_current_task "
    "get_current_task_btf fib_lookup tcp_check_syncookie tcp_gen_syncookie probe_read_user probe_read_kernel "
    "probe_read_user_str probe_read_kernel_str check_mtu snprintf timer_init timer_set_callback timer_start "
    "timer_cancel task_pt_regs get_branch_snapshot copy_from_user_task tcp_raw_gen_syncookie_ipv4 "
    "tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6 skb_output xdp_output "
    "seq_printf seq_write seq_printf_btf "
)
_CALLABLE: Mapping[int, frozenset[int]] = {
    ProgType.XDP: _ANY_PACKET | _XDP,
    ProgType.SCHED_CLS: _ANY_PACKET | _TC,
    ProgType.SCHED_ACT: _ANY_PACKET | _TC,
}


def may_call(prog_type: int | None, helper: int) -> bool | None:
    """Tell whether programs of that type can call a helper in any release up to 6.18; None where no table says."""
    known = _CALLABLE.get(prog_type or 0)
    return None if known is None or helper > max(Helper) else helper in known

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The demo's XDP program: a standard object with a BTF-defined pinned map, CO-RE, global data and a subprogram. */
#include "bpf_defs.h"

enum xdp_action___kernel {
	XDP_PASS___kernel,
};

struct net_device___any {
	int ifindex;
} __relocatable;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} demo_xdp_count SEC(".maps");

const volatile __u32 min_length = 14;
__u64 seen_bytes;
__u32 ifindex_offset;

/* slot 0: frames of at least min_length bytes, slot 1: shorter ones */
static __noinline __u32 slot_of(struct xdp_md *ctx)
{
	__u64 length = ctx->data_end - ctx->data;

	__sync_fetch_and_add(&seen_bytes, length);
	return length < min_length;
}

SEC("xdp")
int demo_xdp(struct xdp_md *ctx)
{
	if (core_field_exists(struct net_device___any, ifindex))
		ifindex_offset = core_field_offset(struct net_device___any, ifindex);
	count(&demo_xdp_count, slot_of(ctx));
	return core_enum_value(enum xdp_action___kernel, XDP_PASS___kernel);
}

char _license[] SEC("license") = "Dual MIT/GPL";

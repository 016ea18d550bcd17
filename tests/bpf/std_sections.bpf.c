/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Section names: an optional program, two programs in one section, names that say nothing by libbpf's table. */
#include "bpf_defs.h"

SEC("xdp")
int two_a(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int two_b(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("?xdp")
int optional(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("xdp_firewall")
int by_prefix(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("classifier/stats")
int cls_by_prefix(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("xdp/devmap")
int for_devmap(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";

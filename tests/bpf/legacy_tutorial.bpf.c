/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The old form of XDP tutorials: struct bpf_map_def of libbpf before 1.0, EXTRA words of samples behind its five. */
#include "bpf_defs.h"

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
#ifdef EXTRA
	unsigned int inner_map_idx;
	unsigned int numa_node;
#endif
};

struct datarec {
	__u64 rx_packets;
	__u64 rx_bytes;
};

struct bpf_map_def SEC("maps") xdp_stats_map = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(struct datarec),
	.max_entries = XDP_REDIRECT + 1,
};

struct bpf_map_def SEC("maps") tx_port = {
	.type = BPF_MAP_TYPE_DEVMAP,
	.key_size = sizeof(int),
	.value_size = sizeof(int),
	.max_entries = 256,
};

struct bpf_map_def SEC("maps") src_prefixes = {
	.type = BPF_MAP_TYPE_LPM_TRIE,
	.key_size = 8,
	.value_size = sizeof(__u32),
	.max_entries = 16,
	.map_flags = BPF_F_NO_PREALLOC,
};

static __always_inline __u32 stats_action(struct xdp_md *ctx, __u32 action)
{
	struct datarec *rec = bpf_map_lookup_elem(&xdp_stats_map, &action);

	if (!rec)
		return XDP_ABORTED;
	rec->rx_packets++;
	rec->rx_bytes += ctx->data_end - ctx->data;
	return action;
}

SEC("xdp_pass")
int xdp_pass_func(struct xdp_md *ctx)
{
	return stats_action(ctx, XDP_PASS);
}

SEC("xdp_drop")
int xdp_drop_func(struct xdp_md *ctx)
{
	return stats_action(ctx, XDP_DROP);
}

SEC("xdp_lpm")
int xdp_lpm_func(struct xdp_md *ctx)
{
	__u32 key[2] = { 32, ctx->ingress_ifindex };

	return stats_action(ctx, bpf_map_lookup_elem(&src_prefixes, key) ? XDP_PASS : XDP_DROP);
}

SEC("xdp_redirect_map")
int xdp_redirect_map_func(struct xdp_md *ctx)
{
	return stats_action(ctx, bpf_map_lookup_elem(&tx_port, &(int){ 0 }) ? XDP_PASS : XDP_ABORTED);
}

char _license[] SEC("license") = "GPL";

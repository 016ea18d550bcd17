/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* goebpf's records: five words, padding, a pointer to the inner map and one to the path of the pin. */
#include "bpf_defs.h"

struct bpf_map_def {
	__u32 map_type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
	void *inner_map_def;
	const char *persistent_path;
};

#define BPF_MAP_DEF(name) struct bpf_map_def SEC("maps") name

BPF_MAP_DEF(txcnt) = {
	.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 100,
	.persistent_path = "/sys/fs/bpf/goe_txcnt",
};

BPF_MAP_DEF(flows) = {
	.map_type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(__u64),
	.value_size = sizeof(__u32),
	.max_entries = 50,
};

BPF_MAP_DEF(flows_by_cpu) = {
	.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
	.max_entries = 10,
	.inner_map_def = &flows,
};

BPF_MAP_DEF(flows_by_net) = {
	.map_type = BPF_MAP_TYPE_HASH_OF_MAPS,
	.key_size = sizeof(__u32),
	.max_entries = 20,
	.inner_map_def = &flows,
	.persistent_path = "/sys/fs/bpf/goe_nets",
};

BPF_MAP_DEF(blocked) = {
	.map_type = BPF_MAP_TYPE_LPM_TRIE,
	.key_size = sizeof(__u64),
	.value_size = sizeof(__u32),
	.max_entries = 16,
};

BPF_MAP_DEF(samples) = {
	.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
	.max_entries = 128,
};

BPF_MAP_DEF(programs) = {
	.map_type = BPF_MAP_TYPE_PROG_ARRAY,
	.max_entries = 2,
};

SEC("xdp")
int count_frames(struct xdp_md *ctx)
{
	count(&txcnt, 0);
	bpf_tail_call(ctx, &programs, 0);
	return XDP_PASS;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	__u32 key[2] = { 32, ctx->ingress_ifindex }, cpu = 0;
	void *inner = bpf_map_lookup_elem(&flows_by_cpu, &cpu);
	__u64 flow = ctx->rx_queue_index;

	if (inner && bpf_map_lookup_elem(inner, &flow))
		return XDP_PASS;
	return bpf_map_lookup_elem(&blocked, key) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";

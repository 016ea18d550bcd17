/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The shape of the first container networks: hash, LRU, perf and prefix maps, tail calls, named sections. */
#include "bpf_defs.h"

#define MAP_CALLS 1
#define CALL_DROP 1
#define CALL_IPV4 7

struct endpoint_key {
	__u32 ip[4];
	__u8 family;
	__u8 pad[3];
};

struct endpoint_info {
	__u32 ifindex;
	__u16 lxc_id;
	__u16 flags;
	__u64 mac;
};

struct policy_entry {
	__u32 action;
	__u32 pad;
	__u64 packets;
	__u64 bytes;
};

#define ELF_MAP(name, kind, key, value, size, how, what)  \
	struct bpf_elf_map SEC("maps") name = {           \
		.type = kind,                             \
		.size_key = key,                          \
		.size_value = value,                      \
		.max_elem = size,                         \
		.pinning = how,                           \
		.flags = what,                            \
	}

struct bpf_elf_map SEC("maps") ep_calls = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.id = MAP_CALLS,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 8,
	.pinning = PIN_GLOBAL_NS,
};
ELF_MAP(ep_lxc, BPF_MAP_TYPE_HASH, sizeof(struct endpoint_key), sizeof(struct endpoint_info), 1024, PIN_GLOBAL_NS, 0);
ELF_MAP(ep_ct4, BPF_MAP_TYPE_LRU_HASH, 16, 56, 512, PIN_GLOBAL_NS, 0);
ELF_MAP(ep_policy, BPF_MAP_TYPE_HASH, sizeof(__u32), sizeof(struct policy_entry), 128, PIN_NONE, BPF_F_NO_PREALLOC);
ELF_MAP(ep_events, BPF_MAP_TYPE_PERF_EVENT_ARRAY, sizeof(__u32), sizeof(__u32), 4, PIN_GLOBAL_NS, 0);
ELF_MAP(ep_metrics, BPF_MAP_TYPE_PERCPU_HASH, 8, 16, 64, PIN_GLOBAL_NS, 0);
ELF_MAP(ep_ipcache, BPF_MAP_TYPE_LPM_TRIE, 8, 8, 256, PIN_GLOBAL_NS, BPF_F_NO_PREALLOC);

static __always_inline void allow(__u32 label)
{
	struct policy_entry *entry = bpf_map_lookup_elem(&ep_policy, &label);

	if (entry)
		__sync_fetch_and_add(&entry->packets, 1);
}

SEC("1/1")
int tail_drop(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

SEC("1/7")
int tail_ipv4(struct __sk_buff *skb)
{
	__u64 metric = skb->mark, prefix = 32 | (__u64)skb->ifindex << 32, tuple[2] = { skb->hash, 0 };

	allow(skb->mark);
	bpf_map_lookup_elem(&ep_metrics, &metric);
	bpf_map_lookup_elem(&ep_ipcache, &prefix);
	bpf_map_lookup_elem(&ep_ct4, tuple);
	return TC_ACT_OK;
}

SEC("from-container")
int handle_ingress(struct __sk_buff *skb)
{
	struct endpoint_key key = { .family = 1 };
	struct endpoint_info *ep = bpf_map_lookup_elem(&ep_lxc, &key);

	if (ep && ep->flags)
		bpf_tail_call(skb, &ep_calls, CALL_DROP);
	bpf_tail_call(skb, &ep_calls, CALL_IPV4);
	return TC_ACT_OK;
}

SEC("to-netdev")
int handle_egress(struct __sk_buff *skb)
{
	allow(2);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

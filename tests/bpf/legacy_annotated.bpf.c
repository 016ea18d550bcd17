/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Key and value types told by a structure beside the record; its section .maps.NAME is no section of maps. */
#include "bpf_defs.h"

#define ANNOTATE_KV(name, key_type, value_type)      \
	struct ____btf_map_##name {                  \
		key_type key;                        \
		value_type value;                    \
	};                                           \
	struct ____btf_map_##name __attribute__((section(".maps." #name), used)) ____btf_map_##name = {}

struct counters {
	__u64 packets;
	__u64 bytes;
};

struct bpf_elf_map SEC("maps") stats = {
	.type = BPF_MAP_TYPE_HASH,
	.size_key = sizeof(__u32),
	.size_value = sizeof(struct counters),
	.max_elem = 16,
	.pinning = PIN_GLOBAL_NS,
};
ANNOTATE_KV(stats, __u32, struct counters);

SEC("classifier")
int cls_main(struct __sk_buff *skb)
{
	__u32 key = skb->ifindex;
	struct counters *found = bpf_map_lookup_elem(&stats, &key);

	if (found)
		found->packets++;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

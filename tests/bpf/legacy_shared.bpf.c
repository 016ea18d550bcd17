/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Egress writes what ingress reads: one pinned map for both directions. */
#include "bpf_defs.h"

#ifndef SHARED_PINNING
#define SHARED_PINNING PIN_GLOBAL_NS
#endif

struct bpf_elf_map SEC("maps") map_sh = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.pinning = SHARED_PINNING,
	.max_elem = 1,
};

SEC("egress")
int emain(struct __sk_buff *skb)
{
	__u32 key = 0, *val = bpf_map_lookup_elem(&map_sh, &key);

	if (val)
		__sync_fetch_and_add(val, 1);
	return TC_ACT_OK;
}

SEC("ingress")
int imain(struct __sk_buff *skb)
{
	__u32 key = 0, *val = bpf_map_lookup_elem(&map_sh, &key);

	return val && *val > 1000000 ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Two static subprograms in .text that use maps. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") hits = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 4,
	.pinning = PIN_GLOBAL_NS,
};

static __noinline int count_short(__u32 len)
{
	count(&hits, 0);
	return len & 1;
}

static __noinline int count_long(__u32 len)
{
	count(&hits, 1);
	return len & 2;
}

SEC("classifier")
int cls_main(struct __sk_buff *skb)
{
	if (skb->len > 200)
		return count_long(skb->len) ? TC_ACT_OK : TC_ACT_SHOT;
	return count_short(skb->len) ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A static function in its program's own section: the assembler settles the call, and no loader is told of it. */
#include "bpf_defs.h"

#ifdef WITH_MAP
struct bpf_elf_map SEC("maps") own_hits = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};
#endif

static __noinline int SEC("classifier") verdict_of(struct __sk_buff *skb);

SEC("classifier")
int own_main(struct __sk_buff *skb)
{
	return verdict_of(skb) + (skb->len > 1000 ? verdict_of(skb) : 0);
}

static __noinline int SEC("classifier") verdict_of(struct __sk_buff *skb)
{
#ifdef WITH_MAP
	count(&own_hits, skb->len & 1);
#endif
	return skb->protocol ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";

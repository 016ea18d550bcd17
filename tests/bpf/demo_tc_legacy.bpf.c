/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The demo's tc programs: an object as iproute2's own loader took it, map record in section "maps", pinning 2. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") demo_tc_count = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

SEC("ingress")
int demo_ingress(struct __sk_buff *skb)
{
	count(&demo_tc_count, 0);
	return TC_ACT_OK;
}

SEC("egress")
int demo_egress(struct __sk_buff *skb)
{
	count(&demo_tc_count, 1);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";

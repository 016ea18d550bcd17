/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A program array that is filled from outside, and the programs to be put into it. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") jmp_tc = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.pinning = PIN_GLOBAL_NS,
	.max_elem = 4,
};

SEC("aaa")
int cls_aaa(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

SEC("classifier")
int cls_entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jmp_tc, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

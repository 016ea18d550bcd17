/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Tail calls by section name: 0xabc/0 goes into slot 0 of the program array whose id is 0xabc. */
#include "bpf_defs.h"

#ifndef TAIL_PINNING
#define TAIL_PINNING PIN_NONE
#endif

struct bpf_elf_map SEC("maps") jmp = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.id = 0xabc,
	.pinning = TAIL_PINNING,
};

struct bpf_elf_map SEC("maps") tail_hits = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

SEC("0xabc/0")
int tail_entry(struct __sk_buff *skb)
{
	count(&tail_hits, 1);
	return TC_ACT_OK;
}

SEC("classifier")
int tail_main(struct __sk_buff *skb)
{
	count(&tail_hits, 0);
	bpf_tail_call(skb, &jmp, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A tail-call section whose key lies outside its program array. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") jmp = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.id = 7,
	.pinning = PIN_GLOBAL_NS,
};

SEC("7/5")
int tail_entry(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("classifier")
int tail_main(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jmp, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

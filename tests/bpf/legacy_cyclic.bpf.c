/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A program that tail-calls itself until the kernel's limit: iproute2's classic first example. */
#include "bpf_defs.h"

#define JMP_MAP_ID 0xabccba

struct bpf_elf_map SEC("maps") jmp_loop = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.id = JMP_MAP_ID,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.pinning = PIN_GLOBAL_NS,
	.max_elem = 1,
};

struct bpf_elf_map SEC("maps") loops = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 1,
	.pinning = PIN_GLOBAL_NS,
};

SEC("0xabccba/0")
int cls_loop(struct __sk_buff *skb)
{
	count(&loops, 0);
	bpf_tail_call(skb, &jmp_loop, 0);
	return TC_ACT_OK;
}

SEC("classifier")
int cls_entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jmp_loop, 0);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";

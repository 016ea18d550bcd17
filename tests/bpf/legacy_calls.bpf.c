/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Two program arrays of different ids, tail sections in decimal, octal and with trailing text, shared map of values. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") jmp_tc = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.id = 42,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.pinning = PIN_GLOBAL_NS,
	.max_elem = 4,
};

struct bpf_elf_map SEC("maps") jmp_ex = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.id = 8,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.pinning = PIN_GLOBAL_NS,
	.max_elem = 2,
};

struct bpf_elf_map SEC("maps") map_sh = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.pinning = PIN_GLOBAL_NS,
	.max_elem = 1,
};

SEC("42/0")
int cls_case1(struct __sk_buff *skb)
{
	count(&map_sh, 0);
	skb->cb[0] = 1;
	bpf_tail_call(skb, &jmp_ex, 1);
	return TC_ACT_OK;
}

SEC("0x2a/3zzz")
int cls_case2(struct __sk_buff *skb)
{
	count(&map_sh, 0);
	return TC_ACT_OK;
}

SEC("010/1")
int cls_exit(struct __sk_buff *skb)
{
	return skb->cb[0] ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("99/0")
int cls_nobody(struct __sk_buff *skb)
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

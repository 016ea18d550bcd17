/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Two functions in one section. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") cnt = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
};

SEC("classifier")
int one(struct __sk_buff *skb)
{
	count(&cnt, 0);
	return TC_ACT_OK;
}

SEC("classifier")
int two(struct __sk_buff *skb)
{
	count(&cnt, 1);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";

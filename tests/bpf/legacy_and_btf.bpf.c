/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Both ways of defining maps in one object. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") old_map = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} new_map SEC(".maps");

SEC("classifier")
int both(struct __sk_buff *skb)
{
	count(&old_map, 0);
	count(&new_map, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

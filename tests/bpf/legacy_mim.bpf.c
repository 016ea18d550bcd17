/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Map-in-map by inner_id: two inner maps with one id and different inner_idx; the outer one stands first. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") outer = {
	.type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.inner_id = 42,
};

struct bpf_elf_map SEC("maps") inner_a = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 1,
	.id = 42,
	.inner_idx = 0,
};

struct bpf_elf_map SEC("maps") inner_b = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 1,
	.id = 42,
	.inner_idx = 1,
};

SEC("classifier")
int use_inner(struct __sk_buff *skb)
{
	__u32 key = 1;
	void *inner = bpf_map_lookup_elem(&outer, &key);

	if (inner)
		count(inner, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

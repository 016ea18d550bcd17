/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Maps of maps, pinned: a slot given, a template without a slot, and the slot of a hash. */
#include "bpf_defs.h"

#define MAP_INNER_ID 42
#define TEMPLATE_ID 43
#define HASHED_ID 44

#define INNER(name, map_id, slot)                       \
	struct bpf_elf_map SEC("maps") name = {         \
		.type = BPF_MAP_TYPE_ARRAY,             \
		.size_key = sizeof(__u32),              \
		.size_value = sizeof(__u32),            \
		.id = map_id,                           \
		.inner_idx = slot,                      \
		.pinning = PIN_GLOBAL_NS,               \
		.max_elem = 1,                          \
	}

#define OUTER(name, kind, map_id)                       \
	struct bpf_elf_map SEC("maps") name = {         \
		.type = kind,                           \
		.size_key = sizeof(__u32),              \
		.size_value = sizeof(__u32),            \
		.inner_id = map_id,                     \
		.pinning = PIN_GLOBAL_NS,               \
		.max_elem = 2,                          \
	}

INNER(map_inner, MAP_INNER_ID, 0);
OUTER(map_outer, BPF_MAP_TYPE_ARRAY_OF_MAPS, MAP_INNER_ID);
OUTER(map_empty, BPF_MAP_TYPE_ARRAY_OF_MAPS, TEMPLATE_ID);
INNER(map_template, TEMPLATE_ID, -1);
OUTER(map_hashed, BPF_MAP_TYPE_HASH_OF_MAPS, HASHED_ID);
INNER(map_entry, HASHED_ID, 77);

SEC("egress")
int emain(struct __sk_buff *skb)
{
	__u32 key = 0, *val;
	void *inner = bpf_map_lookup_elem(&map_outer, &key);

	if (inner && (val = bpf_map_lookup_elem(inner, &key)))
		__sync_fetch_and_add(val, 1);
	return TC_ACT_OK;
}

SEC("ingress")
int imain(struct __sk_buff *skb)
{
	__u32 key = 77, zero = 0, *val;
	void *inner = bpf_map_lookup_elem(&map_hashed, &key);

	if (bpf_map_lookup_elem(&map_empty, &zero))
		return TC_ACT_SHOT;
	return inner && (val = bpf_map_lookup_elem(inner, &zero)) && *val ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

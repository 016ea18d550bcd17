/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What iproute2's loader never could: global data and global subprograms beside legacy maps. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") cnt = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

static volatile __u32 slot = 1;
const volatile __u32 verdict = TC_ACT_OK;

__noinline int first_global(int x)
{
	return x + 1;
}

__noinline int second_global(int x)
{
	count(&cnt, slot);
	return first_global(x) - 1;
}

SEC("classifier")
int use_globals(struct __sk_buff *skb)
{
	return second_global(verdict);
}

char _license[] SEC("license") = "GPL";

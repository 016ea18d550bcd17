/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs for XDP and tc that read a map which is pinned nowhere, and change nothing. MARK makes a second version. */
#include "bpf_defs.h"

#ifndef MARK
#define MARK 1
#endif

#define SKIP (-1) /* TC_ACT_UNSPEC and TCX_NEXT: go on with the next program */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} noted_word SEC(".maps");

static __always_inline int is_marked(void)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&noted_word, &key);

	return value && *value == MARK;
}

SEC("xdp")
int noted_xdp(struct xdp_md *ctx)
{
	return is_marked() ? XDP_TX : XDP_PASS;
}

SEC("tc")
int noted_tc(struct __sk_buff *skb)
{
	return is_marked() ? TC_ACT_OK : SKIP;
}

char _license[] SEC("license") = "Dual MIT/GPL";

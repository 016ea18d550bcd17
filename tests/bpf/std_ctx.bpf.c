/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Global functions that two types of programs call with their context, which only a tag tells (Linux 6.8). */
#include "bpf_defs.h"

#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))

__u64 seen;

__noinline int first_word(void *ctx __arg_ctx)
{
	return *(__u32 *)(ctx + 12) != 0;
}

__noinline int both(int add, void *ctx __arg_ctx)
{
	seen += add;
	return first_word(ctx) + (*(__u32 *)(ctx + 16) != 0);
}

SEC("xdp")
int ctx_xdp(struct xdp_md *ctx)
{
	return both(1, ctx) ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int ctx_tc(struct __sk_buff *skb)
{
	return both(2, skb) & 1;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Subprograms: static, global, hidden, nested, shared by two programs, called through a callback. */
#include "bpf_defs.h"

__u64 result;

__noinline int unused_global(int x)
{
	return x * 3;
}

static __noinline int leaf_static(__u64 x)
{
	result += x;
	return x & 0xff;
}

__noinline int middle_global(int x)
{
	return leaf_static(x) + 1;
}

__hidden __noinline int top_hidden(struct xdp_md *ctx)
{
	__u64 length = ctx->data_end - ctx->data;

	return middle_global(length) + leaf_static(length);
}

static long on_each(__u32 index, void *context)
{
	result += leaf_static(index);
	return index > 10;
}

SEC("xdp")
int calls_first(struct xdp_md *ctx)
{
	return top_hidden(ctx) > 1000 ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int calls_second(struct xdp_md *ctx)
{
	bpf_loop(4, on_each, 0, 0);
	return middle_global(3) > 1000 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";

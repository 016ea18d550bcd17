/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs for a function of another program: in place of it, and beside it. */
#include "bpf_defs.h"

__u64 replaced;
__u64 beside_calls;
__u64 beside_argument;

SEC("freplace/middle_global")
int in_place(int x)
{
	replaced++;
	return x + 2;
}

SEC("?fentry/middle_global")
int beside(__u64 *ctx)
{
	beside_calls++;
	beside_argument = (__u32)ctx[0];
	return 0;
}

char _license[] SEC("license") = "GPL";

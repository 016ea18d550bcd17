/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs for a function of another program: in place of it, and beside it. */
#include "bpf_defs.h"

SEC("freplace/middle_global")
int in_place(int x)
{
	return x + 2;
}

SEC("?fentry/middle_global")
int beside(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";

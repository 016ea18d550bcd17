/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs at a function of the kernel, which PROG_TEST_RUN calls as f(1) and which returns 2: before it and after it.
   Numbers are ints: what is in the upper half of a slot is nobody's. */
#include "bpf_defs.h"

__u64 entered;
__u64 left;
__u64 result;

SEC("fentry/bpf_fentry_test1")
int before(__u64 *ctx)
{
	entered += (__u32)ctx[0];
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int after(__u64 *ctx)
{
	left += (__u32)ctx[0];
	result = (__u32)ctx[1];
	return 0;
}

char _license[] SEC("license") = "GPL";

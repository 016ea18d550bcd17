/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A line for the kernel's trace, with a number by which a reader knows its own. */
#include "bpf_defs.h"

const volatile __u32 marker = 1;

static long (*bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)BPF_FUNC_trace_printk;

SEC("tc")
int tell(struct __sk_buff *skb)
{
	static const char format[] = "marker %u of %u bytes";

	bpf_trace_printk(format, sizeof(format), marker, skb->len);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs for both ends of a netkit pair (Linux 6.7). */
#include "bpf_defs.h"

#define NETKIT_PASS 0
#define NETKIT_DROP 2

__u64 passed;
__u64 dropped;

SEC("netkit/primary")
int pass_out(struct __sk_buff *skb)
{
	passed++;
	return NETKIT_PASS;
}

SEC("netkit/peer")
int drop_out(struct __sk_buff *skb)
{
	dropped++;
	return NETKIT_DROP;
}

char _license[] SEC("license") = "GPL";

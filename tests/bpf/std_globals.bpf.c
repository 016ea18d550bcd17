/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Global data of every section libbpf makes a map of, with static and non-static variables. */
#include "bpf_defs.h"

const volatile __u32 limit = 7;
static const volatile char banner[6] = "hello";
__u64 total;
static volatile __u32 calls;
__u32 start = 40;
static volatile __u32 step = 2;
__u32 custom SEC(".data.custom_long_name") = 3;
const volatile __u32 fixed SEC(".rodata.cust") = 5;

SEC("tc")
int globals(struct __sk_buff *skb)
{
	calls++;
	total += start + step + custom + fixed;
	return total > limit && banner[0] == 'h' ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";

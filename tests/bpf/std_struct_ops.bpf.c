/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Structures of functions for the kernel: two congestion controls, and one that is made on demand. */
#include "bpf_defs.h"

struct sock;
struct rate_sample;

/* a part of the kernel's struct: members are found by name */
struct tcp_congestion_ops {
	char name[16];
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 flags;
};

__u64 calls;

SEC("struct_ops/half")
__u32 half(__u64 *ctx)
{
	calls++;
	return 2;
}

SEC("struct_ops")
__u32 keep(__u64 *ctx)
{
	return 10;
}

SEC("struct_ops/stay")
void stay(__u64 *ctx)
{
}

SEC("struct_ops")
__u32 never(__u64 *ctx)
{
	return 3;
}

SEC(".struct_ops")
struct tcp_congestion_ops plain_cc = {
	.ssthresh = (void *)half,
	.cong_avoid = (void *)stay,
	.undo_cwnd = (void *)keep,
	.flags = 2,
	.name = "plain_cc",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops linked_cc = {
	.ssthresh = (void *)half,
	.cong_avoid = (void *)stay,
	.undo_cwnd = (void *)keep,
	.name = "linked_cc",
};

SEC("?.struct_ops")
struct tcp_congestion_ops spare_cc = {
	.ssthresh = (void *)never,
	.cong_avoid = (void *)stay,
	.undo_cwnd = (void *)keep,
	.name = "spare_cc",
};

char _license[] SEC("license") = "GPL";

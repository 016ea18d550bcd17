/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A standard object for tc, one program for each direction. */
#include "bpf_defs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tc_frames SEC(".maps");

SEC("tc/ingress")
int count_in(struct __sk_buff *skb)
{
	count(&tc_frames, 0);
	return TC_ACT_OK;
}

SEC("tc")
int count_out(struct __sk_buff *skb)
{
	count(&tc_frames, 1);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";

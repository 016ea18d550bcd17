/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* libbpf knows pinning 0 and 1 only. */
#include "bpf_defs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, 2);
} wrong SEC(".maps");

SEC("xdp")
int main_prog(struct xdp_md *ctx)
{
	count(&wrong, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

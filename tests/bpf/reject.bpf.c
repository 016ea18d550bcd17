/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* One good program and one that no verifier takes (it reads beyond the packet unchecked). */
#include "bpf_defs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} reject_count SEC(".maps");

SEC("xdp")
int good(struct xdp_md *ctx)
{
	count(&reject_count, 0);
	return XDP_PASS;
}

SEC("xdp")
int bad(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data;
}

char _license[] SEC("license") = "Dual MIT/GPL";

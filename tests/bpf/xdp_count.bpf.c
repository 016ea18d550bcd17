/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Counts frames in a map pinned by name. STEP makes a second version that shares the map and adds another amount. */
#include "bpf_defs.h"

#ifndef STEP
#define STEP 1
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} xdp_frames SEC(".maps");

SEC("xdp")
int xdp_count(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&xdp_frames, &key);

	if (value)
		__sync_fetch_and_add(value, STEP);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";

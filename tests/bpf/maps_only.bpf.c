/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Maps and no program at all. */
#include "bpf_defs.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} lonely SEC(".maps");

char _license[] SEC("license") = "Dual MIT/GPL";

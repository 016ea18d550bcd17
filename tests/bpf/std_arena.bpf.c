/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* An arena with a variable of its own (Linux 6.9). */
#include "bpf_defs.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA, which older headers lack */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} arena SEC(".maps");

__u64 __arena shared SEC(".addr_space.1") = 41;
__u64 seen;

SEC("syscall")
int add_one(void *ctx)
{
	struct { __u64 used; } *unused = (void *)&arena;

	asm volatile("" ::"r"(unused)); /* the program must name its arena */
	seen = ++shared;
	return 0;
}

char _license[] SEC("license") = "GPL";

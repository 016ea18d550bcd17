/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Map records of SIZE bytes: a prefix of today's struct bpf_elf_map. */
#include "bpf_defs.h"

struct small_map {
	__u32 word[SIZE / 4];
};

struct small_map SEC("maps") cnt = { .word = {
	BPF_MAP_TYPE_ARRAY, 4, 8,
#if SIZE >= 16
	2,
#endif
} };

SEC("prog")
int main_prog(struct xdp_md *ctx)
{
	count(&cnt, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

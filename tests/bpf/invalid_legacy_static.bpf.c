/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A static map record: no loader counts it. */
#include "bpf_defs.h"

static struct bpf_elf_map SEC("maps") cnt = {
	.type = BPF_MAP_TYPE_ARRAY, .size_key = 4, .size_value = 8, .max_elem = 2,
};

SEC("prog")
int main_prog(struct xdp_md *ctx)
{
	count(&cnt, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

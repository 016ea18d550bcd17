/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Records of Linux 4.1: the fifth word was the id. Today it is the flags, and nothing tells the two apart. */
#include "bpf_defs.h"

struct old_elf_map {
	__u32 type, size_key, size_value, max_elem, id;
};

struct old_elf_map SEC("maps") cnt = { BPF_MAP_TYPE_ARRAY, 4, 8, 2, 1 };

SEC("prog")
int main_prog(struct xdp_md *ctx)
{
	count(&cnt, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

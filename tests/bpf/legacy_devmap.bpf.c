/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Pinned maps to which the kernel adds a flag by itself. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") ports = {
	.type = BPF_MAP_TYPE_DEVMAP,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 8,
	.pinning = PIN_GLOBAL_NS,
};

static long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;

SEC("prog")
int main_prog(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports, 0, 0);
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* As legacy_own_static, with the static function in front: who takes the section as one program enters at the wrong one. */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") first_hits = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
};

static __noinline int SEC("prog") slot_of(struct xdp_md *ctx)
{
	return ctx->rx_queue_index & 1;
}

SEC("prog")
int main_behind(struct xdp_md *ctx)
{
	count(&first_hits, slot_of(ctx));
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#include "bpf_defs.h"

struct bpf_elf_map SEC("maps") cnt = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 2,
	.pinning = PINNING,
};

SEC("prog")
int xdp_main(struct xdp_md *ctx)
{
	count(&cnt, 0);
	return XDP_PASS;
}

SEC("classifier")
int cls_main(struct __sk_buff *skb)
{
	count(&cnt, 1);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";

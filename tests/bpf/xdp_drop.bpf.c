/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Drops everything: what a replacement by another program does to traffic can be seen. */
#include "bpf_defs.h"

SEC("xdp")
int xdp_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";

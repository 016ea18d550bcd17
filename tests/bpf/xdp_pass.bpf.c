/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The smallest XDP program. */
#include "bpf_defs.h"

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";

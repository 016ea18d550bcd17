/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A section name that no rule knows: the hook or the user has to say the type. */
#include "bpf_defs.h"

SEC("redirect_to_111")
int untyped(struct __sk_buff *skb)
{
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Settings in structs, of which a user sets single members. */
#include "bpf_defs.h"

struct range {
	__u16 low;
	__u16 high;
};

const volatile struct {
	__u32 limit;
	struct range ports[2];
	union {
		__s8 level;
		__u8 raw;
	};
	__u8 on : 1;
	__u8 off : 1;
	char name[6];
} conf = { .limit = 1, .ports = { { 2, 3 }, { 4, 5 } }, .level = 6, .name = "conf" };

SEC("tc")
int settings(struct __sk_buff *skb)
{
	return conf.limit * 1000000 + conf.ports[0].low * 100000 + conf.ports[0].high * 10000 + conf.ports[1].low * 1000 +
	       conf.ports[1].high * 100 + conf.level * 10 + (conf.name[0] == 'c');
}

char _license[] SEC("license") = "GPL";

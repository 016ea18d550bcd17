// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Records of all kinds against the running kernel's own types. */
#include "core_defs.h"

char _license[] SEC("license") = "GPL";

struct net_device___mine {
	int ifindex;
	char name[16];
	unsigned int mtu;
} __relocatable;

struct sk_buff {
	unsigned int len;
	unsigned char *data;
	struct net_device___mine *dev;
	unsigned char pkt_type : 3;
	int never_there;
} __relocatable;

struct tcp_sock {
	unsigned char nonagle : 4;
} __relocatable;

struct file {
	void *f_op;
} __relocatable;

struct never_in_any_kernel {
	int a;
} __relocatable;

union bpf_attr___mine {
	struct {
		unsigned int map_type;
	};
};

enum bpf_map_type___mine { BPF_MAP_TYPE_NEVER___mine = 77, BPF_MAP_TYPE_ARRAY___mine = 1 };

SEC("xdp")
int fields(struct xdp_md *ctx)
{
	return ALL_OF(struct sk_buff, len) + PLACE_OF(struct sk_buff, data) + ALL_OF(struct sk_buff, pkt_type) +
	       PLACE_OF(struct net_device___mine, name) + PLACE_OF(struct net_device___mine, name[3]) +
	       ALL_OF(struct tcp_sock, nonagle) + core_field_exists(struct sk_buff, never_there) +
	       PLACE_OF(struct file, f_op);
}

SEC("xdp")
int types(struct xdp_md *ctx)
{
	return ABOUT(struct sk_buff) + ABOUT(union bpf_attr___mine) + ABOUT(struct never_in_any_kernel) +
	       core_type_id_target(struct sk_buff) + core_type_size(struct tcp_sock);
}

SEC("xdp")
int enumerators(struct xdp_md *ctx)
{
	return core_enum_value(enum bpf_map_type___mine, BPF_MAP_TYPE_ARRAY___mine) +
	       core_enum_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_ARRAY___mine) +
	       core_enum_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_NEVER___mine);
}

SEC("xdp")
int loads(struct xdp_md *ctx)
{
	struct sk_buff *skb = (void *)(long)ctx->data;

	return skb->len + skb->dev->ifindex + skb->dev->mtu + skb->dev->name[2];
}

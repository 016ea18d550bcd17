// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Programs whose records cannot be applied against refused.target.c, one reason each; and, to compare, ok_*. */
#include "core_defs.h"

char _license[] SEC("license") = "GPL";

struct amb {
	int a;
	int same;
} __relocatable;

struct far {
	int a;
} __relocatable;

struct packed_bits {
	unsigned long long z : 63;
} __relocatable;

struct huge {
	unsigned int a;
} __relocatable;

enum top { TOP_A = 0xffffffff };

SEC("xdp")
int ok_same_offset(struct xdp_md *ctx)
{
	return core_field_offset(struct amb, same);
}

SEC("xdp")
int ambiguous_offset(struct xdp_md *ctx)
{
	return core_field_offset(struct amb, a);
}

SEC("xdp")
int ambiguous_size(struct xdp_md *ctx)
{
	return core_field_size(struct amb, a);
}

SEC("xdp")
int ambiguous_existence(struct xdp_md *ctx)
{
	return core_field_exists(struct amb, a);
}

SEC("xdp")
int ambiguous_id(struct xdp_md *ctx)
{
	return core_type_id_target(struct amb);
}

SEC("xdp")
int ok_type_exists(struct xdp_md *ctx)
{
	return core_type_exists(struct amb);
}

SEC("xdp")
int ok_far_as_number(struct xdp_md *ctx)
{
	return core_field_offset(struct far, a);
}

SEC("xdp")
int far_load(struct xdp_md *ctx)
{
	struct far *far = (void *)(long)ctx->data;

	return far->a;
}

SEC("xdp")
int unreadable_bits(struct xdp_md *ctx)
{
	return core_field_offset(struct packed_bits, z);
}

SEC("xdp")
int load_of_16_bytes(struct xdp_md *ctx)
{
	struct huge *huge = (void *)(long)ctx->data;

	return huge->a;
}

SEC("xdp")
int unsigned_top(struct xdp_md *ctx)
{
	return core_enum_value(enum top, TOP_A);
}

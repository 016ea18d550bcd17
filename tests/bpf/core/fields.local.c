// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Field records against fields.target.c: other offsets, sizes, nesting, arrays, bit fields, flavors. */
#include "core_defs.h"

char _license[] SEC("license") = "GPL";

enum color { RED, GREEN };

struct plain {
	int moved;
	unsigned int wider;
	unsigned long long narrower;
	void *pointer;
	short same;
	_Bool flag;
	char letter;
	enum color color;
	int gone;
	int pointer_there;
	unsigned char bytes[6];
} __relocatable;

struct inner {
	int x;
	int y;
} __relocatable;

struct nested {
	struct {
		int first;
		union {
			int in_union;
			short half;
		};
	};
	struct inner named;
	union {
		struct inner in;
	} mixed;
	int grid[4][3];
	struct inner items[5];
	int too_long[8];
	int flexible[];
} __relocatable;

struct bits {
	unsigned int x : 5;
	unsigned int y : 27;
	unsigned long long z : 30;
	int s : 3;
	unsigned int plain_here;
	unsigned int plain_there : 7;
} __relocatable;

struct flavored___mine {
	int a;
	int b;
} __relocatable;

struct missing {
	int a;
} __relocatable;

typedef struct {
	int a;
	int b;
} __relocatable anonymous_t;

SEC("xdp")
int plain_fields(struct xdp_md *ctx)
{
	return ALL_OF(struct plain, moved) + ALL_OF(struct plain, wider) + ALL_OF(struct plain, narrower) +
	       PLACE_OF(struct plain, pointer) + ALL_OF(struct plain, same) + ALL_OF(struct plain, flag) +
	       ALL_OF(struct plain, letter) + ALL_OF(struct plain, color) + PLACE_OF(struct plain, bytes) +
	       PLACE_OF(struct plain, bytes[3]);
}

SEC("xdp")
int gone_fields(struct xdp_md *ctx)
{
	return core_field_exists(struct plain, gone) + core_field_exists(struct plain, pointer_there) +
	       core_field_exists(struct missing, a) + ALL_OF(struct plain, gone) + ALL_OF(struct missing, a);
}

SEC("xdp")
int nested_fields(struct xdp_md *ctx)
{
	return ALL_OF(struct nested, first) + ALL_OF(struct nested, in_union) + ALL_OF(struct nested, half) +
	       ALL_OF(struct nested, named.y) + ALL_OF(struct nested, mixed.in.y) + PLACE_OF(struct nested, grid[2][1]) +
	       PLACE_OF(struct nested, grid[3]) + ALL_OF(struct nested, items[3].y) + PLACE_OF(struct nested, flexible[9]) +
	       core_field_exists(struct nested, too_long[7]) + core_field_exists(struct nested, too_long[3]) +
	       core_field_offset(struct nested, too_long[2]);
}

SEC("xdp")
int bit_fields(struct xdp_md *ctx)
{
	return ALL_OF(struct bits, x) + ALL_OF(struct bits, y) + ALL_OF(struct bits, z) + ALL_OF(struct bits, s) +
	       ALL_OF(struct bits, plain_here) + ALL_OF(struct bits, plain_there);
}

SEC("xdp")
int flavors(struct xdp_md *ctx)
{
	return ALL_OF(struct flavored___mine, b) + ALL_OF(anonymous_t, b);
}

SEC("xdp")
int roots(struct xdp_md *ctx)
{
	struct plain *list = (struct plain *)0;

	return __builtin_preserve_field_info(list[3].same, 0) + __builtin_preserve_field_info(list[2].bytes[1], 0);
}

SEC("xdp")
int loads(struct xdp_md *ctx)
{
	struct plain *plain = (void *)(long)ctx->data;
	struct nested *nested = (void *)(long)ctx->data;

	return plain->moved + plain->wider + plain->narrower + (long)plain->pointer + plain->same + plain->letter +
	       nested->in_union + nested->named.y + nested->grid[2][1] + nested->items[1].x + plain->bytes[2];
}

SEC("xdp")
int stores(struct xdp_md *ctx)
{
	struct plain *plain = (void *)(long)ctx->data;
	struct nested *nested = (void *)(long)ctx->data;

	plain->wider = ctx->data_end;
	plain->narrower = ctx->ingress_ifindex;
	plain->moved = 7;
	nested->grid[1][1] = 9;
	return 0;
}

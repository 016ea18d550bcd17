// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The types that fields.local.c is relocated against; only its BTF is used. */
#include "core_defs.h"

enum color { BLACK, RED, GREEN };

struct plain {
	unsigned long long wider;
	long padding[5];
	int *pointer_there;
	int moved;
	unsigned short narrower;
	short same;
	const char *pointer;
	char flag;
	unsigned char letter;
	enum color color;
	unsigned short bytes[9];
};

struct inner {
	long y;
	int x;
};

struct nested {
	int before;
	int first;
	struct {
		char more[3];
		struct {
			union {
				long other;
				int in_union;
				short half;
			};
		};
	};
	struct {
		long other;
		struct inner in;
	} mixed;
	const struct inner named;
	int grid[5][7];
	struct inner items[4];
	int too_long[4];
	int count;
	int flexible[];
};

struct bits {
	unsigned int before;
	unsigned int x : 5;
	unsigned int y : 27;
	unsigned long long z : 30;
	int s : 4;
	unsigned int plain_here : 9;
	unsigned int plain_there;
};

struct flavored {
	int a;
};

struct flavored___other {
	long a;
	int b;
};

struct flavored____not_this {
	int b;
};

typedef struct {
	char a;
	short b;
} anonymous_t;

KEEP(struct plain, plain);
KEEP(struct nested, nested);
KEEP(struct bits, bits);
KEEP(struct flavored, flavored);
KEEP(struct flavored___other, flavored_other);
KEEP(struct flavored____not_this, flavored_not);
KEEP(anonymous_t, anonymous);

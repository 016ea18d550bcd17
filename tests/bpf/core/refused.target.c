// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The types that refused.local.c is relocated against; only its BTF is used. */
#include "core_defs.h"

struct amb {
	int a;
	int same;
};

struct amb___2 {
	short other;
	short a;
	int same;
	int b;
};

struct far {
	char before[40000];
	int a;
};

struct packed_bits {
	unsigned long long before : 3;
	unsigned long long z : 63;
} __attribute__((packed));

struct huge {
	long before;
	unsigned __int128 a;
};

enum top { TOP_A = 5 };

KEEP(struct amb, amb);
KEEP(struct amb___2, amb_2);
KEEP(struct far, far);
KEEP(struct packed_bits, packed_bits);
KEEP(struct huge, huge);
KEEP(enum top, top);

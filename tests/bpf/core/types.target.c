// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The types that types.local.c is relocated against; only its BTF is used. */
#include "core_defs.h"

struct same {
	int a;
	struct same *next;
};

struct grown {
	long more;
	int a;
};

struct other_member {
	long a;
};

union now_a_union {
	int a;
};

union choice {
	char b;
	int a;
	long c;
};

struct twice {
	int a;
};

struct twice___more {
	int b;
};

struct with_array {
	int a[5];
};

struct absent_here;

struct with_forward {
	struct absent_here *behind;
};

enum small { SMALL_B = 3, SMALL_A = 70 };
enum negative { NEGATIVE_B = -7, NEGATIVE_A = -6 };
enum wide { WIDE_B = 0x123456789aULL, WIDE_A = 1 };
enum widened { WIDENED_A = 0x100000000ULL };
enum named { NAMED_A = 12 };
enum subset { SUBSET_A, SUBSET_B };

typedef long number_t;
typedef int (*callback_t)(int a, long b);
typedef int (*shorter_t)(int a, int b);
typedef int (*void_t)(int a);
typedef struct same *same_ptr_t;
typedef int array_t[4];
typedef enum small small_t;

KEEP(struct same, same);
KEEP(struct grown, grown);
KEEP(struct other_member, other_member);
KEEP(union now_a_union, now_a_union);
KEEP(union choice, choice);
KEEP(struct twice, twice);
KEEP(struct twice___more, twice_more);
KEEP(struct with_array, with_array);
KEEP(struct with_forward, with_forward);
KEEP(enum small, small);
KEEP(enum negative, negative);
KEEP(enum wide, wide);
KEEP(enum widened, widened);
KEEP(enum named, named);
KEEP(enum subset, subset);
KEEP(number_t, number);
KEEP(callback_t, callback);
KEEP(shorter_t, shorter);
KEEP(void_t, void_function);
KEEP(same_ptr_t, same_ptr);
KEEP(array_t, array);
KEEP(small_t, small_typedef);

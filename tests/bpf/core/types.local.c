// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Type and enumerator records against types.target.c. */
#include "core_defs.h"

char _license[] SEC("license") = "GPL";

struct same {
	int a;
	struct same *next;
};

struct grown {
	int a;
};

struct other_member {
	int a;
};

struct now_a_union {
	int a;
};

union choice {
	int a;
	char b;
};

struct absent {
	int a;
};

struct twice {
	int a;
};

struct with_array {
	int a[4];
};

struct with_forward {
	struct absent *behind;
};

enum small { SMALL_A, SMALL_B = 7, SMALL_GONE = 9 };
enum negative { NEGATIVE_A = -5, NEGATIVE_B = 1 };
enum wide { WIDE_A = 0x7fffffffffffffffULL, WIDE_B = 1 };
enum widened { WIDENED_A = 3 };
enum named___mine { NAMED_A___mine = 11 };
enum subset { SUBSET_B };

typedef int number_t;
typedef int (*callback_t)(int a, long b);
typedef int (*shorter_t)(int a);
typedef void (*void_t)(int a);
typedef struct same *same_ptr_t;
typedef int array_t[3];
typedef enum small small_t;

SEC("xdp")
int structs(struct xdp_md *ctx)
{
	return ABOUT(struct same) + ABOUT(struct grown) + ABOUT(struct other_member) + ABOUT(struct now_a_union) +
	       ABOUT(union choice) + ABOUT(struct absent) + ABOUT(struct with_array) + ABOUT(struct with_forward) +
	       core_type_exists(struct twice) + core_type_size(struct twice);
}

SEC("xdp")
int typedefs(struct xdp_md *ctx)
{
	return ABOUT(number_t) + ABOUT(callback_t) + ABOUT(shorter_t) + ABOUT(void_t) + ABOUT(same_ptr_t) + ABOUT(array_t) +
	       ABOUT(small_t);
}

SEC("xdp")
int ids(struct xdp_md *ctx)
{
	return core_type_id_target(struct same) + core_type_id_target(struct absent) + core_type_id_target(callback_t) +
	       core_type_id_local(struct same);
}

SEC("xdp")
int enums(struct xdp_md *ctx)
{
	return ABOUT(enum small) + ABOUT(enum negative) + ABOUT(enum wide) + ABOUT(enum widened) +
	       ABOUT(enum named___mine) + ABOUT(enum subset);
}

SEC("xdp")
int enumerators(struct xdp_md *ctx)
{
	return core_enum_value(enum small, SMALL_B) + core_enum_exists(enum small, SMALL_B) +
	       core_enum_exists(enum small, SMALL_GONE) + core_enum_value(enum negative, NEGATIVE_A) +
	       core_enum_value(enum negative, NEGATIVE_B) + core_enum_value(enum wide, WIDE_B) +
	       core_enum_value(enum wide, WIDE_A) + core_enum_value(enum widened, WIDENED_A) +
	       core_enum_value(enum named___mine, NAMED_A___mine) + core_enum_value(small_t, SMALL_B);
}

SEC("xdp")
int gone_enumerators(struct xdp_md *ctx)
{
	return core_enum_value(enum small, SMALL_GONE);
}

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* CO-RE questions that bpf_defs.h does not have. */
#ifndef XDPLOADERD_CORE_DEFS_H
#define XDPLOADERD_CORE_DEFS_H

#include "../bpf_defs.h"

#define core_field_signed(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 3)
#define core_field_lshift(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 4)
#define core_field_rshift(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 5)
#define core_type_matches(type) __builtin_preserve_type_info(*(typeof(type) *)0, 2)
#define core_type_id_local(type) __builtin_btf_type_id(*(typeof(type) *)0, 0)
#define core_type_id_target(type) __builtin_btf_type_id(*(typeof(type) *)0, 1)

/* all that may be asked of a number, bit field or not */
#define ALL_OF(type, field)                                                            \
	(core_field_offset(type, field) + core_field_size(type, field) +               \
	 core_field_exists(type, field) + core_field_signed(type, field) +             \
	 core_field_lshift(type, field) + core_field_rshift(type, field))

/* what may be asked of an array element, or a pointer */
#define PLACE_OF(type, field)                                                          \
	(core_field_offset(type, field) + core_field_size(type, field) + core_field_exists(type, field))

/* what may be asked of a type */
#define ABOUT(type)                                                                    \
	(core_type_exists(type) + core_type_size(type) + core_type_matches(type) +     \
	 core_type_id_local(type))

/* keep a type in the BTF of a target */
#define KEEP(type, name) type *keep_##name

#endif

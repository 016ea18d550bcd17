/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The few definitions that the test and demo programs need beside the kernel's own <linux/bpf.h>. */
#ifndef XDPLOADERD_BPF_DEFS_H
#define XDPLOADERD_BPF_DEFS_H

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __relocatable __attribute__((preserve_access_index))

/* BTF-defined maps */
#define __uint(name, val) int(*name)[val]
#define __ulong(name, val) enum { __unique_##name = val } name
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

#define LIBBPF_PIN_BY_NAME 1

/* iproute2's map record in section "maps" */
struct bpf_elf_map {
	__u32 type;
	__u32 size_key;
	__u32 size_value;
	__u32 max_elem;
	__u32 flags;
	__u32 id;
	__u32 pinning;
	__u32 inner_id;
	__u32 inner_idx;
};

#define PIN_NONE 0
#define PIN_OBJECT_NS 1
#define PIN_GLOBAL_NS 2

/* CO-RE questions: the third argument of each builtin is the kind of answer */
#define core_field_offset(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 0)
#define core_field_size(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 1)
#define core_field_exists(type, field) \
	__builtin_preserve_field_info(((type *)0)->field, 2)
#define core_type_exists(type) __builtin_preserve_type_info(*(typeof(type) *)0, 0)
#define core_type_size(type) __builtin_preserve_type_info(*(typeof(type) *)0, 1)
#define core_enum_value(type, value) \
	__builtin_preserve_enum_value(*(typeof(type) *)value, 1)
#define core_enum_exists(type, value) \
	__builtin_preserve_enum_value(*(typeof(type) *)value, 0)

/* helpers, by their numbers in enum bpf_func_id */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static void (*bpf_tail_call)(void *ctx, void *prog_array, __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*bpf_loop)(__u32 nr_loops, void *callback, void *ctx, __u64 flags) = (void *)BPF_FUNC_loop;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

static __always_inline void count(void *map, __u32 key)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

#endif

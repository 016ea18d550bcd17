/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Externs: kernel configuration of several kinds, a missing one, typeless ksyms, a weak kfunc that no kernel has. */
#include "bpf_defs.h"

enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_BPF_SYSCALL __kconfig __weak;
extern int CONFIG_HZ __kconfig __weak;
extern char CONFIG_LOCALVERSION[8] __kconfig __weak;
extern int CONFIG_NO_SUCH_OPTION_AT_ALL __kconfig __weak;
extern const void no_such_symbol_at_all __ksym __weak;
extern int no_such_kfunc_at_all(int x) __ksym __weak;

__u64 out[4];

SEC("tc")
int externs(struct __sk_buff *skb)
{
	out[0] = LINUX_KERNEL_VERSION;
	out[1] = CONFIG_HZ + CONFIG_BPF_SYSCALL + CONFIG_LOCALVERSION[0];
	out[2] = CONFIG_NO_SUCH_OPTION_AT_ALL;
	out[3] = (__u64)&no_such_symbol_at_all;
	if (no_such_kfunc_at_all)
		return no_such_kfunc_at_all(1);
	return CONFIG_BPF ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";

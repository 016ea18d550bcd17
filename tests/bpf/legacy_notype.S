/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What compilers before LLVM 7 wrote: symbols of programs and maps without a type and without a size. */
	.section maps, "aw", @progbits
	.globl old_hits
old_hits:
	.long 2, 4, 8, 2, 0, 0, 2, 0, 0

	.section classifier, "ax", @progbits
	.globl cls_main
cls_main:
	r1 = 0
	*(u32 *)(r10 - 4) = r1
	r2 = r10
	r2 += -4
	r1 = old_hits ll
	call 1
	if r0 == 0 goto 1f
	r1 = 1
	*(u64 *)(r0 + 0) = r1
1:
	r0 = 0
	exit

	.section prog, "ax", @progbits
	.globl xdp_main
xdp_main:
	r0 = 2
	exit

	.section license, "aw", @progbits
	.asciz "GPL"

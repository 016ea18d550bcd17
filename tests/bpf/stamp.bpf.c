/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Packets that tell which programs saw them. `stamp_xdp` and `stamp_tc` write STAMP into a frame, and `check` behind
 * them counts the stamps, and each sequence number once.
 * A frame: Ethernet, the sequence number (4 bytes at 16), the stamp of XDP (at 20) and that of tc (at 21).
 */
#include "bpf_defs.h"

#ifndef STAMP
#define STAMP 1
#endif

#define SEQUENCE 16
#define XDP_STAMP 20
#define TC_STAMP 21
#define FRAME 22
#define ETHERTYPE 0xb588 /* 0x88b5 as it lies in the frame: local experiments */
#define WORDS (1 << 18)	 /* of 64 sequence numbers each */
#define SKIP (-1)	 /* TC_ACT_UNSPEC and TCX_NEXT: go on with the next program */

enum { FIRST_SEEN, SEEN_AGAIN, XDP_STAMPS, TC_STAMPS = XDP_STAMPS + 3, COUNTS = TC_STAMPS + 3 };

#ifdef CHECK
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} stamp_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WORDS);
	__type(key, __u32);
	__type(value, __u64);
} stamp_seen SEC(".maps");

SEC("tc")
int check(struct __sk_buff *skb)
{
	unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 number, word;
	__u64 *seen, bit;

	if (data + FRAME > end || *(__u16 *)(data + 12) != ETHERTYPE)
		return TC_ACT_OK;
	number = *(__u32 *)(data + SEQUENCE);
	word = number / 64 % WORDS;
	bit = 1ULL << number % 64;
	seen = bpf_map_lookup_elem(&stamp_seen, &word);
	if (seen)
		count(&stamp_counts, __sync_fetch_and_or(seen, bit) & bit ? SEEN_AGAIN : FIRST_SEEN);
	if (data[XDP_STAMP] < 3)
		count(&stamp_counts, XDP_STAMPS + data[XDP_STAMP]);
	if (data[TC_STAMP] < 3)
		count(&stamp_counts, TC_STAMPS + data[TC_STAMP]);
	return TC_ACT_SHOT;
}
#else
SEC("xdp")
int stamp_xdp(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + FRAME <= end)
		data[XDP_STAMP] = STAMP;
	return XDP_PASS;
}

SEC("tc")
int stamp_tc(struct __sk_buff *skb)
{
	unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + FRAME <= end)
		data[TC_STAMP] = STAMP;
	return SKIP;
}
#endif

char _license[] SEC("license") = "Dual MIT/GPL";

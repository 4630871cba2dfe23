/*
 * As xdp_redirect.c, on a veth: hands every frame of a receive queue to the AF_XDP socket bound to that
 * queue, and first does the work that the sender has left to its interface.
 *
 * A veth hands the sender's socket buffer to its peer. The bytes of the frame may lack a checksum, and a
 * VLAN tag may lie beside them. Both are described in the socket buffer (struct sk_buff), which the kernel
 * shows to no XDP program of its own accord. But veth keeps a pointer to it behind the context of the
 * program, for the metadata functions of XDP (Linux 6.3). The positions of these kernel structures come
 * from the running kernel's type information (BTF) when the program is loaded; on a kernel where they
 * cannot be found, loading fails, and packet sockets drive the interface.
 *
 * The caller attaches the program to a veth, in driver mode. But the owner of a network namespace can put
 * another interface in the place of the one that the caller has looked at, and behind the context of another
 * driver's program lies other memory of the kernel. So the program looks itself, before the first frame of
 * each queue. One look is enough: the link of the program belongs to one interface.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Of these kernel structures, the members that are read. */
struct sk_buff {
	unsigned char *head;
	__u8 ip_summed : 2;
	__u8 csum_not_inet : 1;
	__u16 csum_start;
	__u16 csum_offset;
	__u32 vlan_all;
	__u16 vlan_proto;
	__u16 vlan_tci;
} __attribute__((preserve_access_index));

struct rtnl_link_ops {
	char *kind;
} __attribute__((preserve_access_index));

struct net_device {
	struct rtnl_link_ops *rtnl_link_ops;
} __attribute__((preserve_access_index));

struct xdp_rxq_info {
	struct net_device *dev;
} __attribute__((preserve_access_index));

struct xdp_buff {
	void *data;
	struct xdp_rxq_info *rxq;
} __attribute__((preserve_access_index));

struct veth_xdp_buff {
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

/* The context as the kernel sees it. */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

/* The value of ip_summed for a checksum that the interface has to complete (include/linux/skbuff.h). */
#define CHECKSUM_PARTIAL 3

/* Bytes that are summed at a time. The programs of the kernel have 512 bytes of stack. */
#define PIECE 256
/* XDP programs address the first 64 KiB of a frame. */
#define LONGEST 65536

#define TAG 4
#define ADDRESSES 12

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} netmap_sockets SEC(".maps");

/*
 * What was done to the frames of a queue; processes map it. The frames of a queue are processed one after
 * the other, so nothing else writes to its entry at the same time.
 */
struct work {
	__u64 checksums;	/* completed */
	__u64 tags;		/* put back */
	__u64 unfinished;	/* frames that were dropped because that was not possible */
	__u64 is_veth;		/* whether the interface has been looked at, and is one */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} netmap_work SEC(".maps");

/*
 * Writes the checksum over the bytes of the frame from start on into the field at that offset. The field
 * holds the sum of the pseudo header, so it is summed as well.
 */
static __always_inline int complete(struct xdp_md *context, __u32 start, __u32 field)
{
	__u32 end = bpf_xdp_get_buff_len(context);
	__u8 piece[PIECE];
	__s64 sum = 0;
	__u16 checksum;

	if (start >= end || field + sizeof(checksum) > end)
		return -1;
	for (int count = 0; count < LONGEST / PIECE; count++) {
		if (end - start < PIECE)
			break;
		if (bpf_xdp_load_bytes(context, start, piece, PIECE))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)piece, PIECE, sum);
		start += PIECE;
	}
	__u64 rest = end - start;
	/* So that the verifier sees the comparison on the value that is passed on. */
	barrier_var(rest);
	if (rest >= PIECE)
		return -1;
	if (rest) {
		__builtin_memset(piece, 0, PIECE);
		if (bpf_xdp_load_bytes(context, start, piece, rest))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)piece, PIECE, sum);
	}
	__u32 folded = sum;
	folded = (folded & 0xffff) + (folded >> 16);
	folded = (folded & 0xffff) + (folded >> 16);
	checksum = ~folded;
	/* In UDP, 0 means that there is no checksum. Elsewhere both values mean the same. */
	if (!checksum)
		checksum = 0xffff;
	return bpf_xdp_store_bytes(context, field, &checksum, sizeof(checksum));
}

/* Inserts a tag behind the addresses; type and control information are in network order. */
static __always_inline int insert(struct xdp_md *context, __be16 type, __be16 control)
{
	__u8 addresses[ADDRESSES];
	__be16 tag[2] = { type, control };

	if (bpf_xdp_adjust_head(context, -TAG))
		return -1;
	if (bpf_xdp_load_bytes(context, TAG, addresses, ADDRESSES))
		return -1;
	if (bpf_xdp_store_bytes(context, 0, addresses, ADDRESSES))
		return -1;
	return bpf_xdp_store_bytes(context, ADDRESSES, tag, TAG);
}

static __always_inline int is_veth(struct xdp_buff *buffer)
{
	char kind[8] = {};

	bpf_probe_read_kernel_str(kind, sizeof(kind),
				  BPF_CORE_READ(buffer, rxq, dev, rtnl_link_ops, kind));
	return kind[0] == 'v' && kind[1] == 'e' && kind[2] == 't' && kind[3] == 'h' && !kind[4];
}

/* Does what the socket buffer says; returns whether the frame is whole now. */
static __always_inline int finish(struct xdp_md *context, struct work *work)
{
	struct xdp_buff *buffer = bpf_cast_to_kern_ctx(context);
	struct sk_buff *packet;

	if (!work->is_veth) {
		if (!is_veth(buffer))
			return 0;
		work->is_veth = 1;
	}
	packet = BPF_CORE_READ((struct veth_xdp_buff *)buffer, skb);
	/* Frames that another XDP program has sent here have no socket buffer, and nothing left to do. */
	if (!packet)
		return 1;
	if (BPF_CORE_READ_BITFIELD_PROBED(packet, ip_summed) == CHECKSUM_PARTIAL) {
		/* SCTP has a CRC instead of a checksum. */
		if (bpf_core_field_exists(packet->csum_not_inet) &&
		    BPF_CORE_READ_BITFIELD_PROBED(packet, csum_not_inet))
			return 0;
		/* csum_start counts from the start of the memory in which the frame lies. */
		__u64 before = (__u64)BPF_CORE_READ(buffer, data) - (__u64)BPF_CORE_READ(packet, head);
		__u64 start = BPF_CORE_READ(packet, csum_start) - before;
		if (start >= LONGEST ||
		    complete(context, start, start + BPF_CORE_READ(packet, csum_offset)))
			return 0;
		work->checksums += 1;
	}
	if (BPF_CORE_READ(packet, vlan_all)) {
		if (insert(context, BPF_CORE_READ(packet, vlan_proto),
			   __builtin_bswap16(BPF_CORE_READ(packet, vlan_tci))))
			return 0;
		work->tags += 1;
	}
	return 1;
}

SEC("xdp.frags")
int netmap_redirect(struct xdp_md *context)
{
	__u32 queue = context->rx_queue_index;
	struct work *work = bpf_map_lookup_elem(&netmap_work, &queue);

	/* The host knows from the socket buffer what is left to do in frames that it gets. */
	if (!work || !bpf_map_lookup_elem(&netmap_sockets, &queue))
		return XDP_PASS;
	if (!finish(context, work)) {
		work->unfinished += 1;
		return XDP_DROP;
	}
	return bpf_redirect_map(&netmap_sockets, queue, XDP_DROP);
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

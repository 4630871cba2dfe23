/*
 * AF_PACKET's mapped rings (packet(7), Documentation/networking/packet_mmap.rst), for Swift: the
 * structures of linux/if_packet.h as offsets, checked here against the header, and the few constants
 * that headers of Linux 6.1 do not have.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_PACKET_H
#define CLINUX_PACKET_H

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef SOL_PACKET
#define SOL_PACKET 263
#endif

enum {
	CLINUX_SOL_PACKET = SOL_PACKET,
	CLINUX_SOCK_RAW = 3,
	CLINUX_SOCK_CLOEXEC = 02000000,
	/* Since Linux 6.2; without it a fanout group receives the packets that its own host sends. */
	CLINUX_FANOUT_FLAG_IGNORE_OUTGOING = 0x4000,
	/* Since Linux 6.2 in virtio_net.h: UDP segmentation. */
	CLINUX_VIRTIO_NET_HDR_GSO_UDP_L4 = 5,
};

/* Parents of the filters of a clsact qdisc: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or _EGRESS) */
static const unsigned int CLINUX_TC_INGRESS = 0xfffffff2u;
static const unsigned int CLINUX_TC_EGRESS = 0xfffffff3u;

/* A block of a receive ring: struct tpacket_block_desc, then frames. */
enum {
	CLINUX_BLOCK_STATUS = offsetof(struct tpacket_block_desc, hdr.bh1.block_status),
	CLINUX_BLOCK_COUNT = offsetof(struct tpacket_block_desc, hdr.bh1.num_pkts),
	CLINUX_BLOCK_FIRST = offsetof(struct tpacket_block_desc, hdr.bh1.offset_to_first_pkt),
	CLINUX_BLOCK_SEQUENCE = offsetof(struct tpacket_block_desc, hdr.bh1.seq_num),
};

/* A frame of either ring: struct tpacket3_hdr; when received, a struct sockaddr_ll follows. */
enum {
	CLINUX_FRAME_NEXT = offsetof(struct tpacket3_hdr, tp_next_offset),
	CLINUX_FRAME_CAPTURED = offsetof(struct tpacket3_hdr, tp_snaplen),
	CLINUX_FRAME_LENGTH = offsetof(struct tpacket3_hdr, tp_len),
	CLINUX_FRAME_STATUS = offsetof(struct tpacket3_hdr, tp_status),
	CLINUX_FRAME_DATA = offsetof(struct tpacket3_hdr, tp_mac),
	CLINUX_FRAME_VLAN_TCI = offsetof(struct tpacket3_hdr, hv1.tp_vlan_tci),
	CLINUX_FRAME_VLAN_TPID = offsetof(struct tpacket3_hdr, hv1.tp_vlan_tpid),
	/* Bytes that the kernel does not use. */
	CLINUX_FRAME_SPARE = offsetof(struct tpacket3_hdr, tp_padding),
	CLINUX_FRAME_HEADER = sizeof(struct tpacket3_hdr),
};
_Static_assert(sizeof(struct tpacket3_hdr) == 48, "tpacket3_hdr is ABI");
_Static_assert(CLINUX_FRAME_HEADER % TPACKET_ALIGNMENT == 0, "where data to send begins");
_Static_assert(CLINUX_FRAME_DATA == 24 && CLINUX_FRAME_SPARE == 40, "tpacket3_hdr is ABI");
_Static_assert(CLINUX_BLOCK_STATUS == 8 && CLINUX_BLOCK_FIRST == 16, "tpacket_block_desc is ABI");

/* The kernel's offload information, directly before a received frame: struct virtio_net_hdr. */
enum {
	CLINUX_OFFLOAD_FLAGS = offsetof(struct virtio_net_hdr, flags),
	CLINUX_OFFLOAD_TYPE = offsetof(struct virtio_net_hdr, gso_type),
	CLINUX_OFFLOAD_HEADER = offsetof(struct virtio_net_hdr, hdr_len),
	CLINUX_OFFLOAD_SIZE = offsetof(struct virtio_net_hdr, gso_size),
	CLINUX_OFFLOAD_START = offsetof(struct virtio_net_hdr, csum_start),
	CLINUX_OFFLOAD_FIELD = offsetof(struct virtio_net_hdr, csum_offset),
	CLINUX_OFFLOAD_BYTES = sizeof(struct virtio_net_hdr),
};
_Static_assert(CLINUX_OFFLOAD_BYTES == 10, "virtio_net_hdr is ABI");

#endif

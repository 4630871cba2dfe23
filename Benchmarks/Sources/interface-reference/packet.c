/*
 * AF_PACKET with TPACKET_V3: Documentation/networking/packet_mmap.rst.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "reference.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* From enum bpf_attach_type of Linux 6.6; the headers of 6.1 do not have it. */
enum { TCX_INGRESS = 46 };

enum {
	BLOCK = 256 << 10, BLOCKS = 8, FRAME = 2048, FRAMES = BLOCK * BLOCKS / FRAME,
	DATA = TPACKET_ALIGN(sizeof(struct tpacket3_hdr)),
};

static int file;
static uint8_t *ring;
static uint64_t dropped;

static void set(int option, int value, const char *what)
{
	if (setsockopt(file, SOL_PACKET, option, &value, sizeof(value)) != 0)
		fail(what);
}

/* Drops the host's ingress: return TC_ACT_SHOT; */
static void blind_host(const struct options *options)
{
	static const struct bpf_insn instructions[] = {
		{ BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 2 },
		{ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};

	attach_program(load_program(BPF_PROG_TYPE_SCHED_CLS, instructions, 2, 0),
		       options->interfaces[0], TCX_INGRESS, 0);
}

static void packet_open(const struct options *options)
{
	const bool sends = options->direction == TX;
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK, .tp_block_nr = BLOCKS, .tp_frame_size = FRAME,
		.tp_frame_nr = FRAMES, .tp_retire_blk_tov = sends ? 0 : 1,
	};
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = sends ? 0 : htons(ETH_P_ALL),
		.sll_ifindex = (int)options->interfaces[0],
	};

	file = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (file < 0)
		fail("socket(AF_PACKET)");
	set(PACKET_VERSION, TPACKET_V3, "PACKET_VERSION");
	if (sends) {
		set(PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
		/* The header can make the kernel copy a whole frame; see the loop below. */
		set(PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
	} else {
		set(PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
	}
	if (setsockopt(file, SOL_PACKET, sends ? PACKET_TX_RING : PACKET_RX_RING, &request,
		       sizeof(request)) != 0)
		fail("setsockopt(ring)");
	ring = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		    file, 0);
	if (ring == MAP_FAILED)
		fail("mmap");
	if (sends) {
		for (uint32_t i = 0; i < FRAMES; i++) {
			struct virtio_net_hdr offload = { .hdr_len = (uint16_t)options->frame_bytes };
			uint8_t *data = ring + (size_t)i * FRAME + DATA;

			/* A header length that covers the frame: the packet then refers to no page of the ring. */
			memcpy(data, &offload, sizeof(offload));
			write_frame(data + sizeof(offload), options->frame_bytes);
		}
	}
	if (bind(file, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail("bind(AF_PACKET)");
	if (!sends)
		blind_host(options);
}

static inline _Atomic uint32_t *status_of(struct tpacket3_hdr *frame)
{
	return (_Atomic uint32_t *)&frame->tp_status;
}

static _Noreturn void transmit(const struct options *options, struct counters *counters)
{
	uint32_t next = 0;

	for (;;) {
		uint32_t now = 0;

		while (now < options->batch) {
			struct tpacket3_hdr *frame = (struct tpacket3_hdr *)(ring + (size_t)next * FRAME);

			if (atomic_load_explicit(status_of(frame), memory_order_acquire) !=
			    TP_STATUS_AVAILABLE)
				break;
			frame->tp_len = options->frame_bytes + (uint32_t)sizeof(struct virtio_net_hdr);
			atomic_store_explicit(status_of(frame), TP_STATUS_SEND_REQUEST,
					      memory_order_release);
			next = next + 1 == FRAMES ? 0 : next + 1;
			now++;
		}
		if (send(file, NULL, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOBUFS)
			fail("send");
		count(&counters->system_calls, 1);
		count(&counters->packets, now);
	}
}

static _Noreturn void receive(struct counters *counters)
{
	uint64_t bytes = 0;

	for (uint32_t next = 0;; next = next + 1 == BLOCKS ? 0 : next + 1) {
		struct tpacket_block_desc *block = (struct tpacket_block_desc *)(ring + (size_t)next * BLOCK);
		_Atomic uint32_t *status = (_Atomic uint32_t *)&block->hdr.bh1.block_status;

		while ((atomic_load_explicit(status, memory_order_acquire) & TP_STATUS_USER) == 0)
			;
		const struct tpacket3_hdr *frame =
			(void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
		const uint32_t frames = block->hdr.bh1.num_pkts;

		for (uint32_t i = 0; i < frames; i++) {
			bytes += frame->tp_snaplen;
			frame = (const void *)((const uint8_t *)frame + frame->tp_next_offset);
		}
		atomic_store_explicit(status, TP_STATUS_KERNEL, memory_order_release);
		count(&counters->packets, frames);
		__asm__ volatile("" : : "r"(bytes));
	}
}

static void packet_loop(const struct options *options, struct counters *counters)
{
	if (options->direction == TX)
		transmit(options, counters);
	receive(counters);
}

static uint64_t packet_lost(void)
{
	struct tpacket_stats_v3 statistics;
	socklen_t length = sizeof(statistics);

	/* Reading resets the counter. */
	if (getsockopt(file, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) == 0)
		dropped += statistics.tp_drops;
	return dropped;
}

const struct driver packet_driver = { packet_open, packet_loop, packet_lost };

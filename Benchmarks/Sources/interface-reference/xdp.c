/*
 * AF_XDP in copy mode, one queue: Documentation/networking/af_xdp.rst.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "reference.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* From Linux 6.15; the headers of 6.1 do not have it. */
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

enum { CHUNK = 2048, CHUNKS = 4096, RING = 2048, HEADROOM = 256 };

/* A ring of addresses or descriptors, shared with the kernel. */
struct ring {
	_Atomic uint32_t *producer, *consumer, *flags;
	union {
		uint64_t *addresses;
		struct xdp_desc *descriptors;
	};
	uint32_t seen;			/* the kernel's cursor, as last read */
};

struct xsk {
	int file;
	struct ring fill, completion, rx, tx;
};

static uint8_t *memory;
static struct xsk sockets[2];

static void map_ring(int file, struct ring *ring, const struct xdp_ring_offset *offsets,
		     unsigned long place, size_t entry)
{
	uint8_t *base = mmap(NULL, offsets->desc + RING * entry, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, file, (off_t)place);

	if (base == MAP_FAILED)
		fail("mmap(XDP ring)");
	ring->producer = (_Atomic uint32_t *)(base + offsets->producer);
	ring->consumer = (_Atomic uint32_t *)(base + offsets->consumer);
	ring->flags = (_Atomic uint32_t *)(base + offsets->flags);
	ring->addresses = (uint64_t *)(base + offsets->desc);
}

static void set(int file, int option, uint32_t value)
{
	if (setsockopt(file, SOL_XDP, option, &value, sizeof(value)) != 0)
		fail("setsockopt(SOL_XDP)");
}

/* Opens a socket on queue 0 of an interface. The second socket shares the first one's memory. */
static void open_socket(struct xsk *xsk, unsigned int interface, const struct xsk *first)
{
	const uint32_t budget = RING;
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = interface,
		.sxdp_flags = XDP_USE_NEED_WAKEUP | XDP_COPY,
	};

	xsk->file = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xsk->file < 0)
		fail("socket(AF_XDP)");
	if (first == NULL) {
		struct xdp_umem_reg registration = {
			.addr = (uintptr_t)memory, .len = (uint64_t)CHUNK * CHUNKS, .chunk_size = CHUNK,
		};

		if (setsockopt(xsk->file, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) != 0)
			fail("setsockopt(XDP_UMEM_REG)");
	} else {
		address.sxdp_flags = XDP_SHARED_UMEM;
		address.sxdp_shared_umem_fd = (uint32_t)first->file;
	}
	set(xsk->file, XDP_UMEM_FILL_RING, RING);
	set(xsk->file, XDP_UMEM_COMPLETION_RING, RING);
	set(xsk->file, XDP_RX_RING, RING);
	set(xsk->file, XDP_TX_RING, RING);
	/* Fails before Linux 6.15, where a call sends at most 32 frames. */
	setsockopt(xsk->file, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget));
	if (getsockopt(xsk->file, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0)
		fail("getsockopt(XDP_MMAP_OFFSETS)");
	map_ring(xsk->file, &xsk->fill, &offsets.fr, XDP_UMEM_PGOFF_FILL_RING, 8);
	map_ring(xsk->file, &xsk->completion, &offsets.cr, XDP_UMEM_PGOFF_COMPLETION_RING, 8);
	map_ring(xsk->file, &xsk->rx, &offsets.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	map_ring(xsk->file, &xsk->tx, &offsets.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	if (bind(xsk->file, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail("bind(AF_XDP)");
}

/* Attaches the program: return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS); */
static void attach(const struct options *options)
{
	const int map = create_socket_map();
	const struct bpf_insn instructions[] = {
		{ BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct xdp_md, rx_queue_index), 0 },
		{ BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map },
		{ 0, 0, 0, 0, 0 },
		{ BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS },
		{ BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map },
		{ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};
	const int program = load_program(BPF_PROG_TYPE_XDP, instructions,
					 sizeof(instructions) / sizeof(instructions[0]), BPF_XDP);

	set_socket(map, 0, sockets[0].file);
	attach_program(program, options->interfaces[0], BPF_XDP,
		       options->generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
}

static void xdp_open(const struct options *options)
{
	memory = mmap(NULL, (size_t)CHUNK * CHUNKS, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	for (uint32_t i = 0; i < CHUNKS; i++)
		write_frame(memory + (size_t)i * CHUNK + HEADROOM, options->frame_bytes);
	open_socket(&sockets[0], options->interfaces[0], NULL);
	if (options->direction == FORWARD)
		open_socket(&sockets[1], options->interfaces[1], &sockets[0]);
	if (options->direction == TX)
		return;
	for (uint32_t i = 0; i < RING; i++)
		sockets[0].fill.addresses[i] = (uint64_t)i * CHUNK;
	atomic_store_explicit(sockets[0].fill.producer, RING, memory_order_release);
	attach(options);
}

/* Number of entries in a ring that the kernel fills, at most `limit`. */
static inline uint32_t available(struct ring *ring, uint32_t position, uint32_t limit)
{
	uint32_t there = ring->seen - position;

	if (there < limit) {
		ring->seen = atomic_load_explicit(ring->producer, memory_order_acquire);
		there = ring->seen - position;
	}
	return there < limit ? there : limit;
}

static inline bool needs_wakeup(const struct ring *ring)
{
	return (atomic_load_explicit(ring->flags, memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
}

static inline void kick_tx(const struct xsk *xsk, struct counters *counters)
{
	if (!needs_wakeup(&xsk->tx))
		return;
	/* On EAGAIN, EBUSY and ENOBUFS the frames stay queued. */
	if (sendto(xsk->file, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
	    errno != EBUSY && errno != ENOBUFS)
		fail("sendto");
	count(&counters->system_calls, 1);
}

static inline void kick_fill(const struct xsk *xsk, struct counters *counters)
{
	if (!needs_wakeup(&xsk->fill))
		return;
	recvfrom(xsk->file, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	count(&counters->system_calls, 1);
}

static _Noreturn void transmit(const struct options *options, struct counters *counters)
{
	struct xsk *const xsk = &sockets[0];
	static uint64_t spare[RING];
	uint32_t spares = 0, done = 0, next = 0;

	while (spares < RING) {
		spare[spares] = (uint64_t)spares * CHUNK + HEADROOM;
		spares++;
	}
	for (;;) {
		const uint32_t back = available(&xsk->completion, done, RING);

		for (uint32_t i = 0; i < back; i++)
			spare[spares++] = xsk->completion.addresses[done++ & (RING - 1)];
		if (back != 0)
			atomic_store_explicit(xsk->completion.consumer, done, memory_order_release);

		/* There are as many descriptors as frames, so the ring has room for every spare frame. */
		const uint32_t now = spares < options->batch ? spares : options->batch;

		for (uint32_t i = 0; i < now; i++)
			xsk->tx.descriptors[next++ & (RING - 1)] =
				(struct xdp_desc){ spare[--spares], options->frame_bytes, 0 };
		atomic_store_explicit(xsk->tx.producer, next, memory_order_release);
		kick_tx(xsk, counters);
		count(&counters->packets, now);
	}
}

static _Noreturn void receive(const struct options *options, struct counters *counters)
{
	struct xsk *const xsk = &sockets[0];
	uint32_t position = 0, fill = RING;
	uint64_t bytes = 0;

	for (;;) {
		const uint32_t now = available(&xsk->rx, position, options->batch);

		for (uint32_t i = 0; i < now; i++) {
			const struct xdp_desc *frame = &xsk->rx.descriptors[position++ & (RING - 1)];

			bytes += frame->len;
			xsk->fill.addresses[fill++ & (RING - 1)] = frame->addr & ~(uint64_t)(CHUNK - 1);
		}
		if (now != 0) {
			atomic_store_explicit(xsk->rx.consumer, position, memory_order_release);
			atomic_store_explicit(xsk->fill.producer, fill, memory_order_release);
			count(&counters->packets, now);
		}
		kick_fill(xsk, counters);
		__asm__ volatile("" : : "r"(bytes));
	}
}

static _Noreturn void forward(const struct options *options, struct counters *counters)
{
	struct xsk *const from = &sockets[0], *const to = &sockets[1];
	uint32_t position = 0, fill = RING, done = 0, next = 0;

	for (;;) {
		/* Sent frames return to the fill ring. */
		const uint32_t back = available(&to->completion, done, RING);

		for (uint32_t i = 0; i < back; i++)
			from->fill.addresses[fill++ & (RING - 1)] =
				to->completion.addresses[done++ & (RING - 1)] & ~(uint64_t)(CHUNK - 1);
		if (back != 0) {
			atomic_store_explicit(to->completion.consumer, done, memory_order_release);
			atomic_store_explicit(from->fill.producer, fill, memory_order_release);
		}

		/* There are RING frames in total, so the transmit ring always has room. */
		const uint32_t now = available(&from->rx, position, options->batch);

		for (uint32_t i = 0; i < now; i++)
			to->tx.descriptors[next++ & (RING - 1)] =
				from->rx.descriptors[position++ & (RING - 1)];
		if (now != 0) {
			atomic_store_explicit(from->rx.consumer, position, memory_order_release);
			atomic_store_explicit(to->tx.producer, next, memory_order_release);
			count(&counters->packets, now);
		}
		if (atomic_load_explicit(to->tx.consumer, memory_order_relaxed) != next)
			kick_tx(to, counters);
		kick_fill(from, counters);
	}
}

static void xdp_loop(const struct options *options, struct counters *counters)
{
	switch (options->direction) {
	case TX:
		transmit(options, counters);
	case RX:
		receive(options, counters);
	case FORWARD:
		forward(options, counters);
	}
}

static uint64_t xdp_lost(void)
{
	struct xdp_statistics statistics;
	socklen_t length = sizeof(statistics);

	if (getsockopt(sockets[0].file, SOL_XDP, XDP_STATISTICS, &statistics, &length) != 0)
		fail("getsockopt(XDP_STATISTICS)");
	/* rx_dropped includes an empty fill ring, but not a full receive ring. */
	return statistics.rx_dropped + statistics.rx_ring_full + statistics.rx_invalid_descs;
}

const struct driver xdp_driver = { xdp_open, xdp_loop, xdp_lost };

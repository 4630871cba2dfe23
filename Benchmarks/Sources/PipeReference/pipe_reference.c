/*
 * The measured loops and their pipe; see pipe_reference.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pipe.h"
#include "pipe_reference.h"

enum { BUFFER_BYTES = 2048, FIRST_BUFFER = 2, PATIENCE = 4096 };

static struct pipe_options options;
static struct {
	_Alignas(128) uint32_t phase;
	_Alignas(128) char end[];
} control;
static struct end sender, receiver;
/* The two mappings and their files. */
static struct {
	void *base[2];
	size_t bytes[2];
	int file[2];
} memory_of_pipe;

/* ---- the measured loops ---- */

static inline bool in_phase(enum pipe_phase phase)
{
	return __atomic_load_n(&control.phase, __ATOMIC_RELAXED) == (uint32_t)phase;
}

static inline void write_frame(void *buffer, uint64_t sequence)
{
	uint64_t *words = buffer;

	for (int i = 0; i < 7; i++)
		words[i] = sequence + (uint64_t)i;
	*(uint32_t *)(words + 7) = (uint32_t)sequence;
}

static inline uint64_t sum_frame(const void *buffer)
{
	const uint64_t *words = buffer;
	uint64_t sum = *(const uint32_t *)(words + 7);

	for (int i = 0; i < 7; i++)
		sum += words[i];
	return sum;
}

/* Fills up to batch free slots. Inlined into a separate loop for each payload. */
static inline __attribute__((always_inline)) uint32_t
fill(struct ring *ring, uint32_t batch, uint64_t sent, bool touched)
{
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	for (uint32_t i = 0; i < count; i++) {
		struct slot *slot = &ring->slot[position];

		if (touched)
			write_frame(ring_buffer(ring, slot->buf_idx), sent + i);
		slot->len = PIPE_FRAME_BYTES;
		slot->flags = 0;
		position = ring_next(ring, position);
	}
	ring_advance(ring, position);
	return count;
}

/* Takes up to batch packets. */
static inline __attribute__((always_inline)) uint32_t
drain(struct ring *ring, uint32_t batch, uint64_t *digest, bool touched)
{
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	for (uint32_t i = 0; i < count; i++) {
		const struct slot *slot = &ring->slot[position];

		if (!touched)
			*digest += slot->len;
		else if (slot->len == PIPE_FRAME_BYTES)
			*digest += sum_frame(ring_buffer(ring, slot->buf_idx));
		position = ring_next(ring, position);
	}
	ring_advance(ring, position);
	return count;
}

static inline void offer_cpu(uint32_t *idle, struct pipe_progress *progress)
{
	sched_yield();
	progress->yields++;
	*idle = 0;
}

static inline __attribute__((always_inline)) void
send_loop(struct pipe_progress *progress, bool touched)
{
	uint64_t sent = progress->packets;
	uint32_t idle = 0;

	while (!in_phase(PIPE_STOPPED)) {
		const uint32_t count = fill(sender.ring, options.batch, sent, touched);

		pipe_txsync(&sender);
		sent += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = sent;
}

static inline __attribute__((always_inline)) void
receive_loop(enum pipe_phase phase, struct pipe_progress *progress, bool touched)
{
	uint64_t received = progress->packets;
	uint64_t digest = progress->digest;
	uint32_t idle = 0;

	while (in_phase(phase)) {
		pipe_rxsync(&receiver);
		const uint32_t count = drain(receiver.ring, options.batch, &digest, touched);

		received += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = received;
	progress->digest = digest;
}

void pipe_reference_send(struct pipe_progress *progress)
{
	if (options.touched)
		send_loop(progress, true);
	else
		send_loop(progress, false);
}

void pipe_reference_receive(enum pipe_phase phase, struct pipe_progress *progress)
{
	if (options.touched)
		receive_loop(phase, progress, true);
	else
		receive_loop(phase, progress, false);
}

/* ---- set-up ---- */

static struct ring *make_ring(char *region, size_t offset, size_t buffers, uint16_t dir)
{
	/* Copied as a whole, because most members are const. */
	const struct ring header = {
		.buf_ofs = (int64_t)buffers - (int64_t)offset,
		.num_slots = PIPE_SLOTS,
		.nr_buf_size = BUFFER_BYTES,
		.dir = dir,
		.tail = dir == 0 ? 0 : PIPE_SLOTS - 1,
	};
	struct ring *ring = (struct ring *)(region + offset);

	memcpy(ring, &header, sizeof(header));
	for (uint32_t i = 0; i < PIPE_SLOTS; i++)
		ring->slot[i].buf_idx = FIRST_BUFFER + i;
	return ring;
}

/* Makes one shared mapping for two rings and their buffers, and another one for the krings. */
bool pipe_reference_make(void)
{
	const size_t ring_bytes = (sizeof(struct ring) + PIPE_SLOTS * sizeof(struct slot) + 4095) & ~4095ul;
	const size_t buffers = 2 * ring_bytes;
	const size_t bytes = buffers + (size_t)(FIRST_BUFFER + PIPE_SLOTS) * BUFFER_BYTES;
	const int memory = memfd_create("pipe-reference", MFD_CLOEXEC);
	const int krings_memory = memfd_create("pipe-reference-krings", MFD_CLOEXEC);

	if (memory < 0 || krings_memory < 0 || ftruncate(memory, (off_t)bytes) != 0 ||
	    ftruncate(krings_memory, 4096) != 0)
		return false;
	char *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	struct kring *krings =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, krings_memory, 0);
	if (region == MAP_FAILED || krings == MAP_FAILED)
		return false;
	struct ring *tx = make_ring(region, 0, buffers, 1);
	struct ring *rx = make_ring(region, ring_bytes, buffers, 0);
	memory_of_pipe.base[0] = region;
	memory_of_pipe.base[1] = krings;
	memory_of_pipe.bytes[0] = bytes;
	memory_of_pipe.bytes[1] = 4096;
	memory_of_pipe.file[0] = memory;
	memory_of_pipe.file[1] = krings_memory;
	krings[0].hwtail = krings[0].rtail = PIPE_SLOTS - 1;
	sender = (struct end){ tx, &krings[0], rx, &krings[1], 1, eventfd(0, EFD_NONBLOCK) };
	receiver = (struct end){ rx, &krings[1], tx, &krings[0], 2, eventfd(0, EFD_NONBLOCK) };
	return true;
}

void pipe_reference_free(void)
{
	for (int i = 0; i < 2; i++) {
		munmap(memory_of_pipe.base[i], memory_of_pipe.bytes[i]);
		close(memory_of_pipe.file[i]);
	}
	close(sender.doorbell);
	close(receiver.doorbell);
}

/* ---- control ---- */

void pipe_reference_configure(struct pipe_options wanted)
{
	options = wanted;
}

void pipe_reference_enter(enum pipe_phase phase)
{
	__atomic_store_n(&control.phase, phase, __ATOMIC_RELEASE);
}

bool pipe_reference_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

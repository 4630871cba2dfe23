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
#include "plain.h"

enum { BUFFER_BYTES = 2048, FIRST_BUFFER = 2, PATIENCE = 4096 };

static struct pipe_options options;
static struct {
	_Alignas(128) uint32_t phase;
	_Alignas(128) char end[];
} control;
static struct end sender, receiver;
static struct plain_end plain_sender, plain_receiver;

enum { PIPE_MEMORY, KRING_MEMORY, PLAIN_MEMORY, MEMORIES };
/* The mappings and their files. */
static struct {
	void *base[MEMORIES];
	size_t bytes[MEMORIES];
	int file[MEMORIES];
} memory_of_pipe;

/* ---- the measured loops ---- */

static inline bool in_phase(enum pipe_phase phase)
{
	return __atomic_load_n(&control.phase, __ATOMIC_RELAXED) == (uint32_t)phase;
}

static inline __attribute__((always_inline)) void
write_words(void *buffer, uint64_t sequence, uint32_t bytes)
{
	uint64_t *words = buffer;
	uint8_t *rest = (uint8_t *)buffer + bytes / 8 * 8;

	for (uint32_t i = 0; i < bytes / 8; i++)
		words[i] = sequence + i;
	for (uint32_t i = 0; i < bytes % 8; i++)
		rest[i] = (uint8_t)sequence;
}

static inline __attribute__((always_inline)) uint64_t
sum_words(const void *buffer, uint32_t bytes)
{
	const uint64_t *words = buffer;
	const uint8_t *rest = (const uint8_t *)buffer + bytes / 8 * 8;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < bytes / 8; i++)
		sum += words[i];
	for (uint32_t i = 0; i < bytes % 8; i++)
		sum += rest[i];
	return sum;
}

static inline void write_short_frame(void *buffer, uint64_t sequence)
{
	uint64_t *words = buffer;

	for (int i = 0; i < 7; i++)
		words[i] = sequence + (uint64_t)i;
	*(uint32_t *)(words + 7) = (uint32_t)sequence;
}

static inline uint64_t sum_short_frame(const void *buffer)
{
	const uint64_t *words = buffer;
	uint64_t sum = *(const uint32_t *)(words + 7);

	for (int i = 0; i < 7; i++)
		sum += words[i];
	return sum;
}

/* What a loop does with the frames. Each has a copy of the loops. */
enum payload { UNTOUCHED, SHORT_FRAMES, ANY_FRAMES };

static enum payload payload(void)
{
	return !options.touched ? UNTOUCHED
	       : options.frame_bytes == PIPE_FRAME_BYTES ? SHORT_FRAMES : ANY_FRAMES;
}

static inline __attribute__((always_inline)) void
write_frame(void *buffer, uint64_t sequence, uint32_t bytes, enum payload payload)
{
	if (payload == SHORT_FRAMES)
		write_short_frame(buffer, sequence);
	else if (payload == ANY_FRAMES)
		write_words(buffer, sequence, bytes);
}

/* What the receiver adds to its digest. */
static inline __attribute__((always_inline)) uint64_t
read_frame(const void *buffer, uint32_t bytes, enum payload payload)
{
	if (payload == UNTOUCHED)
		return bytes;
	if (payload == SHORT_FRAMES && bytes == PIPE_FRAME_BYTES)
		return sum_short_frame(buffer);
	return sum_words(buffer, bytes);
}

/* Fills up to batch free slots. Inlined into a separate loop for each payload. */
static inline __attribute__((always_inline)) uint32_t
fill(struct ring *ring, uint32_t batch, uint64_t sent, enum payload payload)
{
	const uint32_t bytes = options.frame_bytes;
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	for (uint32_t i = 0; i < count; i++) {
		struct slot *slot = &ring->slot[position];

		if (payload != UNTOUCHED)
			write_frame(ring_buffer(ring, slot->buf_idx), sent + i, bytes, payload);
		slot->len = (uint16_t)bytes;
		slot->flags = 0;
		position = ring_next(ring, position);
	}
	ring_advance(ring, position);
	return count;
}

/* Takes up to batch packets. */
static inline __attribute__((always_inline)) uint32_t
drain(struct ring *ring, uint32_t batch, uint64_t *digest, enum payload payload)
{
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	for (uint32_t i = 0; i < count; i++) {
		const struct slot *slot = &ring->slot[position];

		*digest += payload == UNTOUCHED
				   ? slot->len
				   : read_frame(ring_buffer(ring, slot->buf_idx), slot->len, payload);
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
send_loop(struct pipe_progress *progress, enum payload payload)
{
	uint64_t sent = progress->packets;
	uint32_t idle = 0;

	while (!in_phase(PIPE_STOPPED)) {
		const uint32_t count = fill(sender.ring, options.batch, sent, payload);

		pipe_txsync(&sender);
		sent += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = sent;
}

static inline __attribute__((always_inline)) void
receive_loop(enum pipe_phase phase, struct pipe_progress *progress, enum payload payload)
{
	uint64_t received = progress->packets;
	uint64_t digest = progress->digest;
	uint32_t idle = 0;

	while (in_phase(phase)) {
		pipe_rxsync(&receiver);
		const uint32_t count = drain(receiver.ring, options.batch, &digest, payload);

		received += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = received;
	progress->digest = digest;
}

/* ---- the same loops over a plain ring ---- */

static inline __attribute__((always_inline)) void
plain_send_loop(struct pipe_progress *progress, enum payload payload)
{
	const uint32_t bytes = options.frame_bytes, batch = options.batch;
	uint64_t sent = progress->packets;
	uint32_t idle = 0;

	while (!in_phase(PIPE_STOPPED)) {
		const uint32_t count = plain_room(&plain_sender, batch);

		for (uint32_t i = 0; i < count; i++) {
			const uint32_t slot = plain_slot(&plain_sender, i);

			write_frame(plain_sender.ring->frame[slot], sent + i, bytes, payload);
			plain_sender.ring->length[slot] = bytes;
		}
		plain_publish(&plain_sender, count);
		sent += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = sent;
}

static inline __attribute__((always_inline)) void
plain_receive_loop(enum pipe_phase phase, struct pipe_progress *progress, enum payload payload)
{
	const uint32_t batch = options.batch;
	uint64_t received = progress->packets;
	uint64_t digest = progress->digest;
	uint32_t idle = 0;

	while (in_phase(phase)) {
		const uint32_t count = plain_filled(&plain_receiver, batch);

		for (uint32_t i = 0; i < count; i++) {
			const uint32_t slot = plain_slot(&plain_receiver, i);
			const uint32_t length = plain_receiver.ring->length[slot];

			digest += read_frame(plain_receiver.ring->frame[slot], length, payload);
		}
		plain_publish(&plain_receiver, count);
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
	switch (payload()) {
	case UNTOUCHED:
		options.plain ? plain_send_loop(progress, UNTOUCHED) : send_loop(progress, UNTOUCHED);
		break;
	case SHORT_FRAMES:
		options.plain ? plain_send_loop(progress, SHORT_FRAMES) : send_loop(progress, SHORT_FRAMES);
		break;
	case ANY_FRAMES:
		options.plain ? plain_send_loop(progress, ANY_FRAMES) : send_loop(progress, ANY_FRAMES);
	}
}

void pipe_reference_receive(enum pipe_phase phase, struct pipe_progress *progress)
{
	switch (payload()) {
	case UNTOUCHED:
		options.plain ? plain_receive_loop(phase, progress, UNTOUCHED)
			      : receive_loop(phase, progress, UNTOUCHED);
		break;
	case SHORT_FRAMES:
		options.plain ? plain_receive_loop(phase, progress, SHORT_FRAMES)
			      : receive_loop(phase, progress, SHORT_FRAMES);
		break;
	case ANY_FRAMES:
		options.plain ? plain_receive_loop(phase, progress, ANY_FRAMES)
			      : receive_loop(phase, progress, ANY_FRAMES);
	}
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

static void *make_memory(int which, const char *name, size_t bytes)
{
	const int file = memfd_create(name, MFD_CLOEXEC);

	memory_of_pipe.file[which] = file;
	memory_of_pipe.bytes[which] = bytes;
	if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
		return NULL;
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	memory_of_pipe.base[which] = base;
	return base == MAP_FAILED ? NULL : base;
}

/* Makes shared mappings: for two rings and their buffers, for the krings, and for the plain ring. */
bool pipe_reference_make(void)
{
	const size_t ring_bytes = (sizeof(struct ring) + PIPE_SLOTS * sizeof(struct slot) + 4095) & ~4095ul;
	const size_t buffers = 2 * ring_bytes;
	const size_t bytes = buffers + (size_t)(FIRST_BUFFER + PIPE_SLOTS) * BUFFER_BYTES;
	char *region = make_memory(PIPE_MEMORY, "pipe-reference", bytes);
	struct kring *krings = make_memory(KRING_MEMORY, "pipe-reference-krings", 4096);
	struct plain_ring *plain =
		make_memory(PLAIN_MEMORY, "pipe-reference-plain", sizeof(struct plain_ring));

	if (region == NULL || krings == NULL || plain == NULL)
		return false;
	struct ring *tx = make_ring(region, 0, buffers, 1);
	struct ring *rx = make_ring(region, ring_bytes, buffers, 0);
	krings[0].hwtail = krings[0].rtail = PIPE_SLOTS - 1;
	sender = (struct end){ tx, &krings[0], rx, &krings[1], 1, eventfd(0, EFD_NONBLOCK) };
	receiver = (struct end){ rx, &krings[1], tx, &krings[0], 2, eventfd(0, EFD_NONBLOCK) };
	plain_sender = (struct plain_end){ plain, &plain->filled, &plain->emptied };
	plain_receiver = (struct plain_end){ plain, &plain->emptied, &plain->filled };
	return true;
}

void pipe_reference_free(void)
{
	for (int i = 0; i < MEMORIES; i++) {
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

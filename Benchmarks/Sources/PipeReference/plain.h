/*
 * A plain ring between one producer and one consumer: what a program writes by hand that needs nothing else.
 *
 * Each slot has a buffer of its own, and its length in a dense table. Each side keeps its own index and a copy of the other side's, which it loads only when the
 * copy shows no room. No lock, no buffer numbers, no check of the other side's index, no way to sleep.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdint.h>

enum { PLAIN_SLOTS = 1024, PLAIN_BUFFER_BYTES = 2048 };

struct plain_ring {
	_Alignas(128) uint32_t filled;		/* slots filled since the start, by the producer */
	_Alignas(128) uint32_t emptied;		/* slots emptied since the start, by the consumer */
	_Alignas(4096) uint32_t length[PLAIN_SLOTS];
	_Alignas(4096) uint8_t frame[PLAIN_SLOTS][PLAIN_BUFFER_BYTES];
};

/* One side. */
struct plain_end {
	struct plain_ring *ring;
	uint32_t *own;			/* the word that this side writes */
	const uint32_t *peer;
	uint32_t position;		/* this side's index */
	uint32_t known;			/* the other side's index, as last loaded */
};

/* The slot i places after this side's index. */
static inline uint32_t plain_slot(const struct plain_end *end, uint32_t i)
{
	return (end->position + i) % PLAIN_SLOTS;
}

/* Slots that the producer may fill, at most limit. */
static inline uint32_t plain_room(struct plain_end *end, uint32_t limit)
{
	uint32_t room = PLAIN_SLOTS - (end->position - end->known);

	if (room < limit) {
		end->known = __atomic_load_n(end->peer, __ATOMIC_ACQUIRE);
		room = PLAIN_SLOTS - (end->position - end->known);
	}
	return room < limit ? room : limit;
}

/* Slots that the consumer may read, at most limit. */
static inline uint32_t plain_filled(struct plain_end *end, uint32_t limit)
{
	uint32_t filled = end->known - end->position;

	if (filled == 0) {
		end->known = __atomic_load_n(end->peer, __ATOMIC_ACQUIRE);
		filled = end->known - end->position;
	}
	return filled < limit ? filled : limit;
}

/* Hands count slots to the other side. */
static inline void plain_publish(struct plain_end *end, uint32_t count)
{
	if (count == 0)
		return;
	end->position += count;
	__atomic_store_n(end->own, end->position, __ATOMIC_RELEASE);
}

#endif

/*
 * A netmap pipe in plain C, hand-written for comparison with NetmapCore's pipe in Swift.
 *
 * Rings and slots have netmap's layout. Each side has a private kring, except for one cache line of
 * words that the other side reads and writes. No timestamps, no statistics, one direction.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PIPE_H
#define PIPE_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

struct slot {
	uint32_t buf_idx;
	uint16_t len;
	uint16_t flags;
	uint64_t ptr;
};
_Static_assert(sizeof(struct slot) == 16, "netmap's slot");

/* Shared with the application. */
struct ring {
	const int64_t buf_ofs;		/* from this ring to buffer 0 */
	const uint32_t num_slots;
	const uint32_t nr_buf_size;
	const uint16_t ringid;
	const uint16_t dir;

	uint32_t head;			/* (u) first slot of the application */
	uint32_t cur;			/* (u) wake-up point */
	uint32_t tail;			/* (k) first slot of the engine */
	uint32_t flags;

	_Alignas(128) uint8_t sem[128];
	struct slot slot[];
};

/* The engine's side: indexes of this end, then the words that the other end uses. */
struct kring {
	_Alignas(128) uint64_t lock;	/* 0, or the tag of the syncing client */
	uint32_t hwcur;
	uint32_t hwtail;
	uint32_t rhead;
	uint32_t rcur;
	uint32_t rtail;
	uint32_t resets;

	_Alignas(128) uint32_t position;	/* this end's progress */
	uint32_t wait_word;			/* set by a sleeper on the other end */
};

/* One end of a pipe, mapped by the process that syncs it. */
struct end {
	struct ring *ring;
	struct kring *kring;
	struct ring *peer_ring;
	struct kring *peer_kring;
	uint64_t tag;
	int doorbell;
};

static inline uint32_t ring_next(const struct ring *ring, uint32_t i)
{
	return i + 1 == ring->num_slots ? 0 : i + 1;
}

static inline uint32_t ring_distance(uint32_t slots, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + slots - from;
}

static inline uint32_t ring_space(const struct ring *ring)
{
	uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);

	return ring_distance(ring->num_slots, ring->head, tail);
}

static inline void *ring_buffer(struct ring *ring, uint32_t index)
{
	return (char *)ring + ring->buf_ofs + (uint64_t)index * ring->nr_buf_size;
}

/* The application has filled or emptied the slots before head. */
static inline void ring_advance(struct ring *ring, uint32_t head)
{
	ring->cur = head;
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
}

static inline bool kring_trylock(struct kring *kring, uint64_t tag)
{
	uint64_t unlocked = 0;

	return __atomic_compare_exchange_n(&kring->lock, &unlocked, tag, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static inline void kring_unlock(struct kring *kring)
{
	__atomic_store_n(&kring->lock, 0, __ATOMIC_RELEASE);
}

/* Loads head and cur once. Checks that head is in first..limit and cur in head..limit, modulo the ring. */
static inline bool sync_prologue(const struct end *end, uint32_t first, uint32_t limit,
				 uint32_t *head)
{
	const uint32_t slots = end->ring->num_slots;
	const uint32_t h = __atomic_load_n(&end->ring->head, __ATOMIC_ACQUIRE);
	const uint32_t c = __atomic_load_n(&end->ring->cur, __ATOMIC_RELAXED);

	if (h >= slots || c >= slots || first >= slots || limit >= slots)
		return false;
	const uint32_t room = ring_distance(slots, first, limit);
	const uint32_t head_distance = ring_distance(slots, first, h);
	const uint32_t cur_distance = ring_distance(slots, first, c);
	if (head_distance > room || cur_distance < head_distance || cur_distance > room)
		return false;
	end->kring->rhead = h;
	end->kring->rcur = c;
	*head = h;
	return true;
}

static inline void sync_finalize(const struct end *end, uint32_t tail)
{
	end->kring->hwtail = tail;
	end->kring->rtail = tail;
	__atomic_store_n(&end->ring->tail, tail, __ATOMIC_RELEASE);
}

/* The application broke the rules: restart from the engine's own indexes. */
static __attribute__((noinline)) void sync_reset(const struct end *end)
{
	struct kring *kring = end->kring;

	kring->resets++;
	kring->rhead = kring->rcur = kring->hwcur;
	ring_advance(end->ring, kring->hwcur);
	__atomic_store_n(&end->ring->tail, kring->hwtail, __ATOMIC_RELEASE);
}

static __attribute__((noinline)) void sync_wake(const struct end *end)
{
	const uint64_t one = 1;

	if (__atomic_exchange_n(&end->kring->wait_word, 0, __ATOMIC_SEQ_CST) != 0 &&
	    write(end->doorbell, &one, sizeof(one)) < 0) {
		/* The counter is full, so a wake-up is pending. */
	}
}

static inline void copy_run(struct slot *restrict to, const struct slot *restrict from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		to[i] = from[i];
}

static inline void copy_slots(const struct end *end, uint32_t from, uint32_t to)
{
	struct slot *target = end->peer_ring->slot;
	const struct slot *source = end->ring->slot;

	if (from <= to) {
		copy_run(target + from, source + from, to - from);
	} else {
		copy_run(target + from, source + from, end->ring->num_slots - from);
		copy_run(target, source, to);
	}
}

/* Publishes this end's progress, fences, and returns whether the other end sleeps. */
static inline bool publish(struct kring *kring, uint32_t position)
{
	/* The exchange is the fence: the wait word is loaded after the position is visible. */
	(void)__atomic_exchange_n(&kring->position, position, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&kring->wait_word, __ATOMIC_SEQ_CST) != 0;
}

/* Sends the slots before head, and reclaims the slots that the receiver has released. */
static inline bool pipe_txsync(const struct end *end)
{
	struct kring *kring = end->kring;
	const uint32_t slots = end->ring->num_slots;
	bool wakes = false;
	uint32_t head;

	if (!kring_trylock(kring, end->tag))
		return false;
	if (!sync_prologue(end, kring->rhead, kring->rtail, &head)) {
		sync_reset(end);
		kring_unlock(kring);
		return false;
	}
	if (head != kring->hwcur) {
		copy_slots(end, kring->hwcur, head);
		kring->hwcur = head;
		wakes = publish(kring, head);
	}
	const uint32_t released = __atomic_load_n(&end->peer_kring->position, __ATOMIC_ACQUIRE);
	if (released < slots)
		sync_finalize(end, released == 0 ? slots - 1 : released - 1);
	kring_unlock(kring);
	if (wakes)
		sync_wake(end);
	return true;
}

/* Returns the slots before head, and makes the packets that the sender has sent visible. */
static inline bool pipe_rxsync(const struct end *end)
{
	struct kring *kring = end->kring;
	bool wakes = false;
	uint32_t head;

	if (!kring_trylock(kring, end->tag))
		return false;
	if (!sync_prologue(end, kring->hwcur, kring->hwtail, &head)) {
		sync_reset(end);
		head = kring->rhead;
	}
	const uint32_t filled = __atomic_load_n(&end->peer_kring->position, __ATOMIC_ACQUIRE);
	if (head != kring->hwcur) {
		copy_slots(end, kring->hwcur, head);
		kring->hwcur = head;
		wakes = publish(kring, head);
	}
	if (filled < end->ring->num_slots)
		sync_finalize(end, filled);
	kring_unlock(kring);
	if (wakes)
		sync_wake(end);
	return true;
}

#endif

/*
 * Macros and functions for rings and buffers; with NETMAP_WITH_LIBS, the nm_open() family too.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14. All of this is compiled into the program that includes it, so it
 * depends only on the shared layout of <net/netmap.h>.
 *
 * A program moves head and cur of its rings between two syncs. poll(), NIOCTXSYNC and NIOCRXSYNC
 * pass the new values to the engine.
 */
#ifndef _NET_NETMAP_USER_H_
#define _NET_NETMAP_USER_H_

#include <net/if.h>
#include <net/netmap.h>

/* This file does not need all of these, but programs rely on them. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define NETMAP_DEVICE_NAME "/dev/netmap"

/* Programs that define these too use the same tokens, so that a second definition is no error. */
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* ---- From offsets to addresses ---- */

/* Through void *, so that -Wcast-align gives no warning: the engine aligns these objects. */
#define nm_at_(base, distance) ((void *)((char *)(base) + (distance)))
#define _NETMAP_OFFSET(type, base, distance) ((type)nm_at_(base, distance))

/* The interface object, from the start of the mapping and the nr_offset that a bind returned. */
#define NETMAP_IF(base, ofs) ((struct netmap_if *)nm_at_(base, ofs))

/*
 * Ring `i` of a direction; `nifp` itself for a ring that this descriptor did not select. Receive
 * rings follow all transmit rings.
 */
#define NETMAP_TXRING(nifp, i) ((struct netmap_ring *)nm_at_(nifp, (nifp)->ring_ofs[i]))
#define NETMAP_RXRING(nifp, i) \
    NETMAP_TXRING(nifp, (nifp)->ni_tx_rings + (nifp)->ni_host_tx_rings + (i))

/* Convert an index to a buffer and back. The product is a size_t: regions may exceed 4 GiB. */
#define nm_buf_0_(ring) ((char *)nm_at_(ring, (ring)->buf_ofs))
#define NETMAP_BUF(ring, i) (nm_buf_0_(ring) + (ring)->nr_buf_size * (size_t)(i))
#define NETMAP_BUF_IDX(ring, buf) (((char *)(buf) - nm_buf_0_(ring)) / (ring)->nr_buf_size)

/* Read, write and apply the offset of a slot's data in its buffer. */
#define NETMAP_ROFFSET(ring, slot) ((slot)->ptr & (ring)->offset_mask)
#define NETMAP_WOFFSET(ring, slot, offset)                          \
    do {                                                            \
        const uint64_t nm_mask_ = (ring)->offset_mask;              \
        const uint64_t nm_bits_ = (uint64_t)(offset) & nm_mask_;    \
        (slot)->ptr = ((slot)->ptr & ~nm_mask_) | nm_bits_;         \
    } while (0)
#define NETMAP_BUF_OFFSET(ring, slot) \
    (NETMAP_BUF(ring, (slot)->buf_idx) + NETMAP_ROFFSET(ring, slot))

/* ---- Cursors ---- */

/* The slot after `i`. */
static inline uint32_t
nm_ring_next(const struct netmap_ring *ring, uint32_t i)
{
    const uint32_t next = i + 1;

    return likely(next != ring->num_slots) ? next : 0;
}

/* True while the engine holds sent slots, that is, more than the one slot that stays empty. */
static inline int
nm_tx_pending(const struct netmap_ring *ring)
{
    return ring->head != nm_ring_next(ring, ring->tail);
}

/* The slots that the application owns. Counts from head: slots before cur are usable too. */
static inline uint32_t
nm_ring_space(const struct netmap_ring *ring)
{
    const uint32_t head = ring->head, tail = ring->tail;

    return tail >= head ? tail - head : tail + (ring->num_slots - head);
}

/*
 * Copies a frame of `length` bytes between memory areas that do not overlap. Copies exactly that
 * many bytes, so neither area needs padding.
 */
static inline void
nm_pkt_copy(const void *source, void *target, int length)
{
    if (length > 0)
        memcpy(target, source, (size_t)length);
}

/* ---- Messages. A program that has its own defines ND, and gets none of these ---- */

#ifndef ND

struct nm_log_clock_ {
    int seconds; /* three digits are enough to compare two lines */
    int microseconds;
};

static inline struct nm_log_clock_
nm_log_now_(void)
{
    struct timeval now = {0, 0};
    struct nm_log_clock_ clock;

    gettimeofday(&now, NULL);
    clock.seconds = (int)(now.tv_sec % 1000);
    clock.microseconds = (int)now.tv_usec;
    return clock;
}

/* Calls admitted at one place in the program during the current second. */
struct nm_log_limit_ {
    long second;
    int count;
};

static inline int
nm_log_admit_(struct nm_log_limit_ *limit, int per_second)
{
    struct timeval now = {0, 0};

    gettimeofday(&now, NULL);
    if (limit->second != (long)now.tv_sec) {
        limit->second = (long)now.tv_sec;
        limit->count = 0;
    }
    if (limit->count >= per_second)
        return 0;
    limit->count++;
    return 1;
}

/* Prints nothing: a disabled message. */
#define ND(...) \
    do {        \
    } while (0)

/* Prints a line on stderr with time, function and source line. `_fmt` must be a literal. */
#define D(_fmt, ...)                                                                       \
    do {                                                                                   \
        const struct nm_log_clock_ nm_now_ = nm_log_now_();                                \
        fprintf(stderr, "%03d.%06d %s [%d] " _fmt "\n", nm_now_.seconds,                   \
                nm_now_.microseconds, __func__, __LINE__, ##__VA_ARGS__);                  \
    } while (0)

/* Prints like D(), but at most `per_second` times a second from this place. */
#define RD(per_second, _fmt, ...)                       \
    do {                                                \
        static struct nm_log_limit_ nm_limit_;          \
        if (nm_log_admit_(&nm_limit_, (per_second)))    \
            D(_fmt, ##__VA_ARGS__);                     \
    } while (0)

#endif /* ND */

#endif /* _NET_NETMAP_USER_H_ */

/* Outside the guard: a program may include this file again, with NETMAP_WITH_LIBS. */
#ifdef NETMAP_WITH_LIBS
#include <net/netmap_desc.h>
#endif

/*
 * nm_inject(), nm_dispatch() and nm_nextpkt(): one packet at a time, by copy or by callback.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), "nm_open". Included by <net/netmap_desc.h>, not by programs.
 *
 * None of these makes a system call. The next poll(), NIOCTXSYNC or NIOCRXSYNC passes their changes
 * to the engine.
 */
#ifndef NETMAP_DESC_IO_H_
#define NETMAP_DESC_IO_H_

/* A ring of `d`, or NULL if `d` did not select that ring. */
static inline struct netmap_ring *
nm_tx_ring_(const struct nm_desc *d, uint16_t index)
{
    struct netmap_ring *ring = NETMAP_TXRING(d->nifp, index);

    return (void *)ring == (void *)d->nifp ? NULL : ring;
}

static inline struct netmap_ring *
nm_rx_ring_(const struct nm_desc *d, uint16_t index)
{
    struct netmap_ring *ring = NETMAP_RXRING(d->nifp, index);

    return (void *)ring == (void *)d->nifp ? NULL : ring;
}

/* Puts a frame of `size` bytes, more than 0, at the head of `ring`. False if it has no room. */
static inline int
nm_ring_inject_(struct netmap_ring *ring, const char *data, size_t size)
{
    const size_t room = ring->nr_buf_size;
    uint32_t i = ring->head;

    if ((size + room - 1) / room > nm_ring_space(ring))
        return 0;
    while (size > 0) {
        struct netmap_slot *slot = &ring->slot[i];
        const size_t part = size < room ? size : room;

        memcpy(NETMAP_BUF(ring, slot->buf_idx), data, part);
        data += part;
        size -= part;
        slot->len = (uint16_t)part;
        slot->flags = size > 0 ? NS_MOREFRAG : 0;
        i = nm_ring_next(ring, i);
    }
    ring->cur = ring->head = i;
    return 1;
}

/*
 * Queues a copy of the frame at `buf`, on several slots if it is longer than a buffer. Continues
 * with the next ring when a ring is full.
 *
 * Returns `size`; or 0 if no ring had room, or `size` is 0.
 */
static inline int
nm_inject(struct nm_desc *d, const void *buf, size_t size)
{
    int left = d->last_tx_ring - d->first_tx_ring + 1;
    uint16_t index = d->cur_tx_ring;

    if (size == 0)
        return 0;
    for (; left > 0; left--, index++) {
        struct netmap_ring *ring;

        if (index > d->last_tx_ring)
            index = d->first_tx_ring;
        ring = nm_tx_ring_(d, index);
        if (ring != NULL && nm_ring_inject_(ring, (const char *)buf, size)) {
            d->cur_tx_ring = index;
            return (int)size;
        }
    }
    return 0;
}

/* A walk over the receive rings that begins at d->cur_rx_ring and visits each of them once. */
struct nm_rx_walk_ {
    struct netmap_ring *ring; /* the one with packets, or NULL at the end */
    uint16_t index;
    int left; /* rings still to visit, including this one */
};

/* Advances to the first ring with packets not yet visited, beginning with the current ring. */
static inline void
nm_rx_seek_(const struct nm_desc *d, struct nm_rx_walk_ *walk)
{
    for (; walk->left > 0; walk->left--, walk->index++) {
        if (walk->index > d->last_rx_ring)
            walk->index = d->first_rx_ring;
        walk->ring = nm_rx_ring_(d, walk->index);
        if (walk->ring != NULL && walk->ring->cur != walk->ring->tail)
            return;
    }
    walk->ring = NULL;
}

static inline void
nm_rx_start_(const struct nm_desc *d, struct nm_rx_walk_ *walk)
{
    walk->left = d->last_rx_ring - d->first_rx_ring + 1;
    walk->index = d->cur_rx_ring;
    nm_rx_seek_(d, walk);
}

/*
 * Describes the packet at ring->cur in `header` and advances past it. A packet whose last slot is
 * missing (an error of the sender) ends with the last available slot.
 */
static inline void
nm_rx_take_(struct netmap_ring *ring, struct nm_pkthdr *header)
{
    const uint32_t room = ring->nr_buf_size;
    uint32_t i = ring->cur;
    struct netmap_slot *slot = &ring->slot[i];
    char *data = NETMAP_BUF(ring, slot->buf_idx);
    int in_one_piece = 1;

    header->ts = ring->ts;
    header->slot = slot;
    header->buf = (uint8_t *)data;
    header->caplen = header->len = slot->len;
    i = nm_ring_next(ring, i);
    while ((slot->flags & NS_MOREFRAG) && i != ring->tail) {
        /* Data stays contiguous if this slot is full and the next slot's buffer follows it. */
        in_one_piece = in_one_piece && slot->len == room;
        slot = &ring->slot[i];
        in_one_piece = in_one_piece && NETMAP_BUF(ring, slot->buf_idx) == data + room;
        data = NETMAP_BUF(ring, slot->buf_idx);
        header->len += slot->len;
        if (in_one_piece)
            header->caplen += slot->len;
        i = nm_ring_next(ring, i);
    }
    ring->head = ring->cur = i;
}

/*
 * Calls `cb` for up to `cnt` received packets, or for all of them if `cnt` is not above 0. A packet
 * on several slots causes one call, and `caplen` is then the number of contiguous bytes. The data
 * belongs to the application until its next sync.
 *
 * Returns the number of packets.
 */
static inline int
nm_dispatch(struct nm_desc *d, int cnt, nm_cb_t cb, unsigned char *arg)
{
    struct nm_rx_walk_ walk;
    int got = 0;

    nm_rx_start_(d, &walk);
    while (walk.ring != NULL) {
        d->cur_rx_ring = walk.index;
        d->hdr.d = d;
        nm_rx_take_(walk.ring, &d->hdr);
        got++;
        nm_rx_seek_(d, &walk); /* before the callback, which is told whether more packets follow */
        if (got == cnt)
            walk.ring = NULL;
        d->hdr.flags = walk.ring != NULL ? NM_MORE_PKTS : 0;
        cb(arg, &d->hdr, d->hdr.buf);
    }
    return got;
}

/*
 * Takes the next received slot as a packet: this interface does not support packets on several
 * slots. Fills only `ts`, `caplen` and `len`, because `hdr` may be a struct pcap_pkthdr.
 *
 * Returns the slot's data, which belongs to the application until its next sync; or NULL if there
 * is none.
 */
static inline unsigned char *
nm_nextpkt(struct nm_desc *d, struct nm_pkthdr *hdr)
{
    struct nm_rx_walk_ walk;
    const struct netmap_slot *slot;

    nm_rx_start_(d, &walk);
    if (walk.ring == NULL)
        return NULL;
    d->cur_rx_ring = walk.index;
    slot = &walk.ring->slot[walk.ring->cur];
    hdr->ts = walk.ring->ts;
    hdr->caplen = hdr->len = slot->len;
    walk.ring->head = walk.ring->cur = nm_ring_next(walk.ring, walk.ring->cur);
    return (unsigned char *)NETMAP_BUF(walk.ring, slot->buf_idx);
}

#endif /* NETMAP_DESC_IO_H_ */

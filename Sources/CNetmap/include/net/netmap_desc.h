/*
 * nm_open() and its family: one descriptor with a pcap-like interface, compiled into the program.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14, "nm_open". Define NETMAP_WITH_LIBS and include
 * <net/netmap_user.h>; do not include this file directly. New programs should use <libnetmap.h>,
 * which supports options and modes that this interface cannot name.
 */
#ifndef HAVE_NETMAP_WITH_LIBS
#define HAVE_NETMAP_WITH_LIBS

#include <errno.h>
#include <fcntl.h>
#include <net/netmap_user.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct nm_desc;

/* A received packet. The first three members are libpcap's struct pcap_pkthdr. */
struct nm_pkthdr {
    struct timeval ts;
    uint32_t caplen; /* contiguous bytes at the address passed to the callback */
    uint32_t len;    /* bytes of the whole packet */
    uint64_t flags;  /* NM_MORE_PKTS */
    struct nm_desc *d;
    struct netmap_slot *slot; /* the first of the packet */
    uint8_t *buf;             /* where its data is */
};

#define NM_MORE_PKTS 1 /* another packet follows in this call of nm_dispatch() */

/* libpcap's struct pcap_stat. */
struct nm_stat {
    unsigned int ps_recv;
    unsigned int ps_drop;
    unsigned int ps_ifdrop;
};

#define NM_ERRBUF_SIZE 512

/* An open port. Programs read most of these members and write some. */
struct nm_desc {
    struct nm_desc *self; /* its own address, by which IS_NETMAP_DESC() recognizes it */
    int fd;
    void *mem; /* the mapped region; NULL if there is none */
    size_t memsize;
    int done_mmap; /* this descriptor owns the mapping, not its parent */
    struct netmap_if *nifp;
    uint16_t first_tx_ring, last_tx_ring, cur_tx_ring;
    uint16_t first_rx_ring, last_rx_ring, cur_rx_ring;
    struct nmreq req; /* with the engine's answer */
    struct nm_pkthdr hdr;

    struct netmap_ring *some_ring; /* any of them: NETMAP_BUF() works with each */
    void *buf_start;
    void *buf_end;

    /* For libpcap, which keeps its parameters and the interface's flags here. */
    int snaplen;
    int promisc;
    int to_ms;
    char *errbuf;
    uint32_t if_flags;
    uint32_t if_reqcap;
    uint32_t if_curcap;
    struct nm_stat st;
    char msg[NM_ERRBUF_SIZE];
};

/* libpcap stores descriptors as pointers of another type, hence the cast and the test. */
#define P2NMD(p) ((const struct nm_desc *)(p))
#define NETMAP_FD(p) (P2NMD(p)->fd)
#define IS_NETMAP_DESC(p) nm_is_desc_(p)

static inline int
nm_is_desc_(const void *p)
{
    return p != NULL && P2NMD(p)->self == p;
}

/* The callback of nm_dispatch(); libpcap's has the same shape. */
typedef void (*nm_cb_t)(unsigned char *user, const struct nm_pkthdr *header,
                        const unsigned char *data);

/*
 * Flags of nm_open(): the members to copy from the descriptor passed as `arg`. The low 16 bits may
 * carry NETMAP_NO_TX_POLL and NETMAP_DO_RX_POLL.
 */
enum {
    NM_OPEN_NO_MMAP = 0x040000, /* do not map, unless `arg` is given and has another region */
    NM_OPEN_IFNAME = 0x080000,  /* name, ring and mode; nm_open() ignores the string */
    NM_OPEN_ARG1 = 0x100000,
    NM_OPEN_ARG2 = 0x200000, /* the region */
    NM_OPEN_ARG3 = 0x400000, /* the number of extra buffers */
    NM_OPEN_RING_CFG = 0x800000 /* numbers and sizes of rings */
};

/* The minimum size of the buffer for nm_parse()'s message. */
#define MAXERRMSG 80

#include <net/netmap_desc_parse.h>

/* ---- Opening and closing ---- */

/*
 * Gives `d` access to its region: the parent's mapping if that is of the same region, else a new
 * mapping. Does nothing if `d` already has its own.
 *
 * Returns 0; or EINVAL, with the reason in errno.
 */
static inline int
nm_mmap(struct nm_desc *d, const struct nm_desc *parent)
{
    struct netmap_ring *ring;

    if (d->done_mmap)
        return 0;
    if (IS_NETMAP_DESC(parent) && parent->mem != NULL && parent->req.nr_arg2 == d->req.nr_arg2) {
        d->mem = parent->mem;
        d->memsize = parent->memsize;
    } else {
        void *region =
            mmap(NULL, d->req.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);

        if (region == MAP_FAILED)
            return EINVAL;
        d->mem = region;
        d->memsize = d->req.nr_memsize;
        d->done_mmap = 1;
    }

    /* An unselected ring has the address of the interface object: try the other direction. */
    d->nifp = NETMAP_IF(d->mem, d->req.nr_offset);
    ring = NETMAP_RXRING(d->nifp, d->first_rx_ring);
    if ((void *)ring == (void *)d->nifp)
        ring = NETMAP_TXRING(d->nifp, d->first_tx_ring);
    if ((void *)ring != (void *)d->nifp) {
        d->some_ring = ring;
        d->buf_start = NETMAP_BUF(ring, 0);
        d->buf_end = (char *)d->mem + d->memsize;
    }
    return 0;
}

/*
 * Undoes nm_open(). Other descriptors that share this one's mapping must not be used afterwards.
 *
 * Returns 0; or EINVAL if `d` is not an open descriptor.
 */
static inline int
nm_close(struct nm_desc *d)
{
    if (!IS_NETMAP_DESC(d))
        return EINVAL;
    if (d->done_mmap && d->mem != NULL)
        munmap(d->mem, d->memsize);
    if (d->fd != -1)
        close(d->fd);
    memset(d, 0, sizeof(*d)); /* so that a stale pointer is not mistaken for a descriptor */
    free(d);
    return 0;
}

/* Copies from `parent` the members that the NM_OPEN_* flags name. */
static inline void
nm_import_(struct nmreq *req, const struct nmreq *parent, uint64_t flags)
{
    /* `req` is often a copy of the parent's request, whose extra buffers belong to the parent. */
    req->nr_arg3 = flags & NM_OPEN_ARG3 ? parent->nr_arg3 : 0;
    if (flags & NM_OPEN_ARG1)
        req->nr_arg1 = parent->nr_arg1;
    if (flags & NM_OPEN_ARG2)
        req->nr_arg2 = parent->nr_arg2;
    if (flags & NM_OPEN_RING_CFG) {
        req->nr_tx_slots = parent->nr_tx_slots;
        req->nr_rx_slots = parent->nr_rx_slots;
        req->nr_tx_rings = parent->nr_tx_rings;
        req->nr_rx_rings = parent->nr_rx_rings;
    }
    if (flags & NM_OPEN_IFNAME) {
        memcpy(req->nr_name, parent->nr_name, sizeof(req->nr_name));
        req->nr_ringid = parent->nr_ringid;
        req->nr_flags = parent->nr_flags;
    }
}

/* Finds the rings of one direction from the mode of a bind and the port's `count` of rings. */
static inline void
nm_ring_range_(const struct nmreq *req, uint16_t count, uint16_t *first, uint16_t *last)
{
    const uint16_t number = req->nr_ringid & NETMAP_RING_MASK;

    *first = *last = 0; /* for pipes */
    switch (req->nr_flags & NR_REG_MASK) {
    case NR_REG_DEFAULT:
    case NR_REG_ALL_NIC:
        if (count > 0)
            *last = (uint16_t)(count - 1);
        break;
    case NR_REG_NIC_SW: /* the host's ring follows the NIC's */
        *last = count;
        break;
    case NR_REG_SW:
        *first = *last = count;
        break;
    case NR_REG_ONE_SW:
        *first = *last = (uint16_t)(count + number);
        break;
    case NR_REG_ONE_NIC:
        *first = *last = number;
        break;
    default:
        break;
    }
}

/* The steps of nm_open() that may fail. Returns NULL, or the failed step; errno has the reason. */
static inline const char *
nm_open_steps_(struct nm_desc *d, const char *ifname, uint64_t flags, const struct nm_desc *parent,
               char *problem)
{
    d->fd = open(NETMAP_DEVICE_NAME, O_RDWR);
    if (d->fd == -1)
        return "open(" NETMAP_DEVICE_NAME ")";
    if (!(flags & NM_OPEN_IFNAME) && nm_parse(ifname, d, problem) != 0)
        return problem;

    d->req.nr_version = NETMAP_API;
    d->req.nr_ringid &= NETMAP_RING_MASK;
    if (IS_NETMAP_DESC(parent) && flags != 0)
        nm_import_(&d->req, &parent->req, flags);
    d->req.nr_ringid |= flags & (NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL);
    if (ioctl(d->fd, NIOCREGIF, &d->req) == -1)
        return "ioctl(NIOCREGIF)";

    nm_ring_range_(&d->req, d->req.nr_tx_rings, &d->first_tx_ring, &d->last_tx_ring);
    nm_ring_range_(&d->req, d->req.nr_rx_rings, &d->first_rx_ring, &d->last_rx_ring);
    d->cur_tx_ring = d->first_tx_ring;
    d->cur_rx_ring = d->first_rx_ring;

    /* With a parent, NM_OPEN_NO_MMAP avoids a new mapping only if both have the same region. */
    if (((flags & NM_OPEN_NO_MMAP) == 0 || parent != NULL) && nm_mmap(d, parent) != 0)
        return "mmap(" NETMAP_DEVICE_NAME ")";
    return NULL;
}

/*
 * Opens the device, binds it to the port named `ifname` and maps the region.
 *
 * `req` supplies values that the name does not contain, such as extra buffers and sizes, and may be
 * NULL. `arg` is an open descriptor, or NULL: nm_open() uses its mapping if the region is the same,
 * and `flags` (0 or NM_OPEN_*) select the other members to copy from it.
 *
 * Returns the descriptor, for nm_close(); or NULL with errno set, to 0 if the name does not belong
 * to netmap. Prints the reason for a failure, except for such a name.
 */
static inline struct nm_desc *
nm_open(const char *ifname, const struct nmreq *req, uint64_t flags, const struct nm_desc *arg)
{
    char problem[MAXERRMSG] = "";
    const char *step;
    struct nm_desc *d;
    int code;

    if (strncmp(ifname, "netmap:", 7) != 0 && strncmp(ifname, NM_BDG_NAME, 4) != 0) {
        errno = 0;
        return NULL;
    }
    d = (struct nm_desc *)calloc(1, sizeof(*d));
    if (d == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    d->self = d;
    if (req != NULL)
        d->req = *req;

    step = nm_open_steps_(d, ifname, flags, arg, problem);
    if (step == NULL)
        return d;
    code = errno != 0 ? errno : EINVAL; /* read before closing and printing can change it */
    D("nm_open(%s): %s: %s (errno %d)", ifname, step, strerror(code), code);
    nm_close(d);
    errno = code;
    return NULL;
}

#include <net/netmap_desc_io.h>

#endif /* HAVE_NETMAP_WITH_LIBS */

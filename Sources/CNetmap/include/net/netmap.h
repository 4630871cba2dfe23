/*
 * The netmap ABI: the memory that a program and the engine share, and the requests between them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14. Programs compiled long ago contain these layouts, so no member
 * may ever move; Sources/CNetmap/abi.c checks every size and offset.
 *
 * "Application" is the program that opened a port. "Engine" is the implementation that serves it:
 * this project's user-space implementation, or the kernel module if it is loaded.
 */
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/types.h>

/* ---- Versions and limits ---- */

/* What a client writes in nr_version, and the range a control request accepts. */
#define NETMAP_API 14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

/* Port names in control requests, with the final NUL. */
#define NETMAP_REQ_IFNAMSIZ 64
/* Names in struct netmap_if and in the legacy requests: IFNAMSIZ, without pulling in <net/if.h>. */
#define NETMAP_IFNAMSIZ 16
/* The body of a request and all its options together may not be longer than this. */
#define NETMAP_REQ_MAXSIZE 4096
/* The most slots of one packet. */
#define NETMAP_MAX_FRAGS 64
/* Keeps the application's private area of a ring off the cache lines of the cursors. */
#define NM_CACHE_ALIGN 128
/* The name of a switch port: this prefix, an identifier, a colon and the port. */
#define NM_BDG_NAME "vale"

/* ---- Slots, rings and the interface object ---- */

/* One entry of a ring. The application owns the slots from head up to, not including, tail. */
struct netmap_slot {
    uint32_t buf_idx; /* index of the buffer; 0 and 1 are never handed out */
    uint16_t len;     /* bytes of this slot, not of the packet */
    uint16_t flags;   /* NS_* */
    uint64_t ptr;     /* user address if NS_INDIRECT; else the offset into the buffer, if enabled */
};

#define NS_BUF_CHANGED 0x0001 /* buf_idx has changed: the other side must reload it */
#define NS_REPORT 0x0002      /* report as soon as this slot has been sent */
#define NS_FORWARD 0x0004     /* pass this packet between the NIC and the host when releasing it */
#define NS_NO_LEARN 0x0008    /* do not learn the source address */
#define NS_INDIRECT 0x0010    /* the data is at `ptr` in the application (switch transmit only) */
#define NS_MOREFRAG 0x0020    /* the packet continues in the next slot */
#define NS_TXMON 0x0040       /* set by monitors: seen in transmission */

/* The high byte: formerly a destination port, now the number of slots of a packet from a switch. */
#define NS_PORT_SHIFT 8
#define NS_PORT_MASK (0xff << NS_PORT_SHIFT)
#define NS_RFRAGS(slot_) (((slot_)->flags >> NS_PORT_SHIFT) & 0xff)

/*
 * One ring. The application moves head and cur, the engine moves tail, and each only reads the
 * other's; members marked const are fixed while the port is bound.
 *
 * Slots from head up to tail belong to the application. cur, between the two, is the application's
 * wake-up point: poll() sleeps while cur == tail.
 */
struct netmap_ring {
    const int64_t buf_ofs;      /* from this ring to buffer 0, in bytes */
    const uint32_t num_slots;   /* any number, not only powers of two */
    const uint32_t nr_buf_size; /* distance from one buffer to the next */
    const uint16_t ringid;      /* index within its direction; host rings follow the NIC's */
    const uint16_t dir;         /* 1 for transmit, 0 for receive: the values that engines store */

    uint32_t head;     /* application: first slot it still owns */
    uint32_t cur;      /* application: wake-up point */
    uint32_t tail;     /* engine: first slot the application does not own */
    uint32_t flags;    /* application: NR_TIMESTAMP, NR_FORWARD */
    struct timeval ts; /* engine: time of the last receive sync */

    const uint64_t offset_mask; /* the bits of a slot's `ptr` that are an offset; 0 for none */
    const uint64_t buf_align;   /* alignment that transmitted data must have; 0 for none */

    uint8_t sem[128] __attribute__((__aligned__(NM_CACHE_ALIGN))); /* for the application */
    struct netmap_slot slot[];                                     /* num_slots of them */
};

#define NR_TIMESTAMP 0x0002 /* refresh `ts` at every receive sync */
#define NR_FORWARD 0x0004   /* honor NS_FORWARD on this ring */

/* True when the application owns no slot of `ring`. */
static inline int
nm_ring_empty(const struct netmap_ring *ring)
{
    return ring->tail == ring->head;
}

/*
 * The rings of one open descriptor, and its list of extra buffers.
 *
 * ring_ofs holds offsets from this object. Order: NIC transmit, host transmit, NIC receive, host
 * receive. Both host counts are at least 1, even on a port without host rings. A ring this
 * descriptor did not select has offset 0.
 */
struct netmap_if {
    char ni_name[NETMAP_IFNAMSIZ];
    const uint32_t ni_version; /* not maintained */
    const uint32_t ni_flags;   /* NI_* */
    const uint32_t ni_tx_rings;
    const uint32_t ni_rx_rings;
    uint32_t ni_bufs_head; /* first extra buffer; its first 4 bytes name the next; 0 ends */
    const uint32_t ni_host_tx_rings;
    const uint32_t ni_host_rx_rings;
    uint32_t ni_spare1[3];
    const ssize_t ring_ofs[];
};

#define NI_PRIV_MEM 0x1 /* the region is private to this port */

/* ---- Control requests (NIOCCTRL) ---- */

/* The header of every request: its type, port, options and body. */
struct nmreq_header {
    uint16_t nr_version;  /* NETMAP_API */
    uint16_t nr_reqtype;  /* NETMAP_REQ_* */
    uint32_t nr_reserved; /* 0 */
    char nr_name[NETMAP_REQ_IFNAMSIZ];
    uint64_t nr_options; /* address of the first struct nmreq_option, or 0 */
    uint64_t nr_body;    /* address of the body, or 0 if the request has none */
};

enum {
    NETMAP_REQ_REGISTER = 1,             /* struct nmreq_register */
    NETMAP_REQ_PORT_INFO_GET = 2,        /* struct nmreq_port_info_get */
    NETMAP_REQ_VALE_ATTACH = 3,          /* struct nmreq_vale_attach */
    NETMAP_REQ_VALE_DETACH = 4,          /* struct nmreq_vale_detach */
    NETMAP_REQ_VALE_LIST = 5,            /* struct nmreq_vale_list */
    NETMAP_REQ_PORT_HDR_SET = 6,         /* struct nmreq_port_hdr */
    NETMAP_REQ_PORT_HDR_GET = 7,         /* struct nmreq_port_hdr */
    NETMAP_REQ_VALE_NEWIF = 8,           /* struct nmreq_vale_newif */
    NETMAP_REQ_VALE_DELIF = 9,           /* no body */
    NETMAP_REQ_VALE_POLLING_ENABLE = 10, /* struct nmreq_vale_polling */
    NETMAP_REQ_VALE_POLLING_DISABLE = 11, /* struct nmreq_vale_polling */
    NETMAP_REQ_POOLS_INFO_GET = 12,       /* struct nmreq_pools_info */
    NETMAP_REQ_SYNC_KLOOP_START = 13,     /* struct nmreq_sync_kloop_start */
    NETMAP_REQ_SYNC_KLOOP_STOP = 14,      /* no body */
    NETMAP_REQ_CSB_ENABLE = 15            /* no body */
};

/* Binds the descriptor to a port. Sizes and counts: hints in the request, facts in the answer. */
struct nmreq_register {
    uint64_t nr_offset;  /* out: the struct netmap_if, from the start of the region */
    uint64_t nr_memsize; /* out: bytes to mmap */
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_host_tx_rings;
    uint16_t nr_host_rx_rings;
    uint16_t nr_mem_id;     /* the region; 0 leaves the choice to the engine */
    uint16_t nr_ringid;     /* which ring, for the NR_REG_ONE_* modes */
    uint32_t nr_mode;       /* NR_REG_* */
    uint32_t nr_extra_bufs; /* buffers beyond those of the rings; the engine may grant fewer */
    uint64_t nr_flags;      /* NR_*, below */
};

enum {
    NR_REG_DEFAULT = 0,     /* legacy requests only */
    NR_REG_ALL_NIC = 1,     /* every ring pair of the NIC */
    NR_REG_SW = 2,          /* the host rings */
    NR_REG_NIC_SW = 3,      /* both */
    NR_REG_ONE_NIC = 4,     /* one ring pair */
    NR_REG_PIPE_MASTER = 5, /* legacy requests only: now part of the name, "{id" */
    NR_REG_PIPE_SLAVE = 6,  /* likewise, "}id" */
    NR_REG_NULL = 7,        /* no port at all, only memory */
    NR_REG_ONE_SW = 8       /* one pair of host rings */
};

#define NR_MONITOR_TX 0x100
#define NR_MONITOR_RX 0x200
#define NR_ZCOPY_MON 0x400
#define NR_EXCLUSIVE 0x800 /* fail if another binding has these rings, and exclude others */
/* 0x1000 stays unused: programs are known to set it by mistake. */
#define NR_RX_RINGS_ONLY 0x2000
#define NR_TX_RINGS_ONLY 0x4000
#define NR_ACCEPT_VNET_HDR 0x8000 /* ready for frames that begin with a virtio-net header */
#define NR_DO_RX_POLL 0x10000     /* poll() syncs receive rings even if not asked for input */
#define NR_NO_TX_POLL 0x20000     /* poll() syncs transmit rings only if asked for output */

struct nmreq_port_info_get {
    uint64_t nr_memsize;
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_host_tx_rings;
    uint16_t nr_host_rx_rings;
    uint16_t nr_mem_id; /* in and out */
    uint16_t pad[3];
};

/* Puts a NIC or a persistent port on the switch named in the header. */
struct nmreq_vale_attach {
    struct nmreq_register reg;
    uint32_t port_index; /* out */
    uint32_t pad1;
};

struct nmreq_vale_detach {
    uint32_t port_index; /* out */
    uint32_t pad1;
};

/* Walks all switch ports: start at 0/0 and ask again until ENOENT. The name comes in the header. */
struct nmreq_vale_list {
    uint16_t nr_bridge_idx; /* in and out */
    uint16_t pad1;
    uint32_t nr_port_idx; /* in and out */
};

/* Length of the virtio-net header in front of every frame of a port: 0, 10 or 12. */
struct nmreq_port_hdr {
    uint32_t nr_hdr_len;
    uint32_t pad1;
};

/* Creates a persistent switch port. */
struct nmreq_vale_newif {
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_mem_id;
    uint16_t pad1;
};

/* Serves an attached NIC from polling threads instead of interrupts. */
struct nmreq_vale_polling {
    uint32_t nr_mode; /* NETMAP_POLLING_MODE_* */
    uint32_t nr_first_cpu_id;
    uint32_t nr_num_polling_cpus;
    uint32_t pad1;
};

#define NETMAP_POLLING_MODE_SINGLE_CPU 1
#define NETMAP_POLLING_MODE_MULTI_CPU 2

/* The three object pools of a region: where each begins, how many objects, how large. */
struct nmreq_pools_info {
    uint64_t nr_memsize;
    uint16_t nr_mem_id; /* in and out */
    uint16_t pad1[3];
    uint64_t nr_if_pool_offset;
    uint32_t nr_if_pool_objtotal;
    uint32_t nr_if_pool_objsize;
    uint64_t nr_ring_pool_offset;
    uint32_t nr_ring_pool_objtotal;
    uint32_t nr_ring_pool_objsize;
    uint64_t nr_buf_pool_offset;
    uint32_t nr_buf_pool_objtotal;
    uint32_t nr_buf_pool_objsize;
};

/* Runs the sync loop in the calling thread until another thread stops it. */
struct nmreq_sync_kloop_start {
    uint32_t sleep_us; /* pause between rounds when no event descriptors were given */
    uint32_t pad1;
};

/* ---- Options of a request ---- */

/* The header of every option. The engine sets nro_status: 0, or why it rejected the option. */
struct nmreq_option {
    uint64_t nro_next; /* address of the next option, or 0 */
    uint32_t nro_reqtype;
    uint32_t nro_status;
    uint64_t nro_size; /* whole size in bytes, for options without a fixed one */
};

enum {
    NETMAP_REQ_OPT_EXTMEM = 1,              /* struct nmreq_opt_extmem */
    NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS = 2, /* struct nmreq_opt_sync_kloop_eventfds */
    NETMAP_REQ_OPT_CSB = 3,                 /* struct nmreq_opt_csb */
    NETMAP_REQ_OPT_SYNC_KLOOP_MODE = 4,     /* struct nmreq_opt_sync_kloop_mode */
    NETMAP_REQ_OPT_OFFSETS = 5,             /* struct nmreq_opt_offsets */
    NETMAP_REQ_OPT_MAX = 6                  /* the first unused number */
};

/* Use the application's memory for the region. nro_info requests pool sizes; 0 means default. */
struct nmreq_opt_extmem {
    struct nmreq_option nro_opt;
    uint64_t nro_usrptr;
    struct nmreq_pools_info nro_info; /* in and out */
};

/* Event descriptors for the sync loop: one pair for each bound ring, transmit rings first. */
struct nmreq_opt_sync_kloop_eventfds {
    struct nmreq_option nro_opt;
    struct nm_kloop_eventfds {
        int32_t ioeventfd; /* application to engine; -1 for none */
        int32_t irqfd;     /* engine to application; -1 for none */
    } eventfds[];
};

/* Handle events of a direction in the context that signals them, not in the loop. */
struct nmreq_opt_sync_kloop_mode {
    struct nmreq_option nro_opt;
    uint32_t mode; /* NM_OPT_SYNC_KLOOP_* */
};

#define NM_OPT_SYNC_KLOOP_DIRECT_TX (1 << 0)
#define NM_OPT_SYNC_KLOOP_DIRECT_RX (1 << 1)

/* Where the control blocks of CSB mode are. Both arrays have an entry for each bound ring. */
struct nmreq_opt_csb {
    struct nmreq_option nro_opt;
    uint64_t csb_atok; /* address of struct nm_csb_atok[] */
    uint64_t csb_ktoa; /* address of struct nm_csb_ktoa[] */
};

/* Let packets begin at an offset into their buffers, kept in the low bits of the slots' `ptr`. */
struct nmreq_opt_offsets {
    struct nmreq_option nro_opt;
    uint64_t nro_max_offset;     /* in and out */
    uint64_t nro_initial_offset; /* put in every slot if not 0 */
    uint32_t nro_offset_bits;    /* how many bits of `ptr`; 0 for all */
    uint32_t nro_tx_align;
    uint64_t nro_min_gap; /* room to keep between the offset and the next buffer */
};

/* ---- CSB mode: cursors outside the ring, as virtual machines use them ---- */

/* Application to engine. Each entry fills one cache line, so that no two rings share a line. */
struct nm_csb_atok {
    uint32_t head;
    uint32_t cur;
    uint32_t appl_need_kick; /* the engine must signal irqfd after progress */
    uint32_t sync_flags;
    uint32_t pad[12];
};

/* Engine to application. */
struct nm_csb_ktoa {
    uint32_t hwcur;
    uint32_t hwtail;
    uint32_t kern_need_kick; /* the application must signal ioeventfd after progress */
    uint32_t pad[13];
};

/* Orders earlier stores before later stores. */
static inline void
nm_stst_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Orders earlier loads before later loads. */
static inline void
nm_ldld_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/*
 * Publishes the application's cursors. head goes last: an engine that sees it also sees the slots
 * that were filled before and a cur at least as new, so it never finds cur behind head.
 */
static inline void
nm_sync_kloop_appl_write(struct nm_csb_atok *atok, uint32_t cur, uint32_t head)
{
    __atomic_store_n(&atok->cur, cur, __ATOMIC_RELEASE);
    __atomic_store_n(&atok->head, head, __ATOMIC_RELEASE);
}

/* Fetches the engine's cursors in the opposite order: hwtail, then a hwcur at least as new. */
static inline void
nm_sync_kloop_appl_read(const struct nm_csb_ktoa *ktoa, uint32_t *hwtail, uint32_t *hwcur)
{
    *hwtail = __atomic_load_n(&ktoa->hwtail, __ATOMIC_ACQUIRE);
    *hwcur = __atomic_load_n(&ktoa->hwcur, __ATOMIC_ACQUIRE);
}

/* ---- ioctl numbers (145, 146 and 150 are in netmap_legacy.h) ---- */

#define NIOCTXSYNC _IO('i', 148) /* send the slots before head; never sleeps */
#define NIOCRXSYNC _IO('i', 149) /* return the slots before head, and fetch new packets */
#define NIOCCTRL _IOWR('i', 151, struct nmreq_header)

#include <net/netmap_legacy.h>

#endif /* _NET_NETMAP_H_ */

/*
 * The requests netmap had before NIOCCTRL, kept because compiled programs still send them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14. Included by <net/netmap.h>.
 */
#ifndef _NET_NETMAP_LEGACY_H_
#define _NET_NETMAP_LEGACY_H_

#include <net/netmap.h>

/*
 * One structure for all requests. nr_cmd selects the request, 0 is "bind", and determines the
 * meaning of the three nr_arg fields. Offsets and sizes are truncated to 32 bits.
 */
struct nmreq {
    char nr_name[NETMAP_IFNAMSIZ];
    uint32_t nr_version; /* NETMAP_API */
    uint32_t nr_offset;  /* out: the struct netmap_if, from the start of the region */
    uint32_t nr_memsize; /* out: bytes to mmap */
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_ringid; /* a ring number and the bits defined below */
    uint16_t nr_cmd;    /* NETMAP_BDG_* and relatives */
    uint16_t nr_arg1;   /* attach: NETMAP_BDG_HOST; header commands: the length */
    uint16_t nr_arg2;   /* memory region, in and out */
    uint32_t nr_arg3;   /* extra buffers, in and out */
    uint32_t nr_flags;  /* NR_REG_* in the bits of NR_REG_MASK, NR_* in the others */
    uint32_t spare2[1];
};

/* nr_ringid. A mode in nr_flags takes precedence over the two ring-kind bits. */
#define NETMAP_RING_MASK 0x0fff
#define NETMAP_NO_TX_POLL 0x1000
#define NETMAP_SW_RING 0x2000
#define NETMAP_HW_RING 0x4000
#define NETMAP_DO_RX_POLL 0x8000

/* nr_flags */
#define NR_REG_MASK 0xf

/* nr_cmd */
#define NETMAP_BDG_ATTACH 1
#define NETMAP_BDG_DETACH 2
#define NETMAP_BDG_REGOPS 3 /* not available through ioctl */
#define NETMAP_BDG_LIST 4
#define NETMAP_BDG_VNET_HDR 5 /* sets the length; NETMAP_VNET_HDR_GET reads it */
#define NETMAP_BDG_NEWIF 6
#define NETMAP_BDG_DELIF 7
#define NETMAP_PT_HOST_CREATE 8 /* no longer supported */
#define NETMAP_PT_HOST_DELETE 9 /* no longer supported */
#define NETMAP_BDG_POLLING_ON 10
#define NETMAP_BDG_POLLING_OFF 11
#define NETMAP_VNET_HDR_GET 12

/* nr_arg1 of NETMAP_BDG_ATTACH: attach the host rings of the NIC as well. */
#define NETMAP_BDG_HOST 1

#define NM_IFRDATA_LEN 256

/* A message to the module of a switch; only the module interprets the data. */
struct nm_ifreq {
    char nifr_name[NETMAP_IFNAMSIZ];
    char data[NM_IFRDATA_LEN];
};

#define NIOCGINFO _IOWR('i', 145, struct nmreq)
#define NIOCREGIF _IOWR('i', 146, struct nmreq)
#define NIOCCONFIG _IOWR('i', 150, struct nm_ifreq)

#endif /* _NET_NETMAP_LEGACY_H_ */

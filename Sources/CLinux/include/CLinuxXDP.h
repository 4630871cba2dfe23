/*
 * AF_XDP: <linux/if_xdp.h>, and constants that the headers of Linux 6.1 do not have.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_XDP_H
#define CLINUX_XDP_H

#include <linux/if_xdp.h>

enum {
	CLINUX_AF_XDP = 44,
	CLINUX_SOL_XDP = 283,
	/* Linux 6.6: packets of several descriptors */
	CLINUX_XDP_USE_SG = 1 << 4,
	CLINUX_XDP_PKT_CONTD = 1 << 0,
	/* Linux 6.15: how many frames one sendto(2) passes to the driver in copy mode */
	CLINUX_XDP_MAX_TX_SKB_BUDGET = 9,
	/* <linux/if_link.h> */
	CLINUX_XDP_FLAGS_SKB_MODE = 1 << 1,
	CLINUX_XDP_FLAGS_DRV_MODE = 1 << 2,
	/* <linux/bpf.h>, enum bpf_attach_type */
	CLINUX_BPF_XDP = 37,
	CLINUX_BPF_TCX_INGRESS = 46,
	CLINUX_BPF_TCX_EGRESS = 47,
};

/* mmap(2) offsets of the four rings; as macros they are too large for Swift's off_t */
static const long CLINUX_XDP_PGOFF_RX_RING = 0;
static const long CLINUX_XDP_PGOFF_TX_RING = 0x80000000;
static const long CLINUX_XDP_PGOFF_FILL_RING = 0x100000000;
static const long CLINUX_XDP_PGOFF_COMPLETION_RING = 0x180000000;

#endif

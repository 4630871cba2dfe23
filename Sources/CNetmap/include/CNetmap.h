/*
 * The netmap ABI for Swift: constants for the parts that Swift's C importer cannot import.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14. Swift imports neither struct netmap_ring, because of a member
 * aligned to 128 bytes, nor arrays of unknown length, nor macros with a cast or a sizeof in them;
 * and it cannot store to a member declared const. So rings, interface objects and control blocks
 * are reached by offset. Enumerators arrive in Swift as Int, as pointer arithmetic wants them.
 */
#ifndef CNETMAP_H
#define CNETMAP_H

#include <net/netmap.h>
#include <net/netmap_module.h>
#include <stddef.h>
#include <stdint.h>

/* struct netmap_slot imports as it is; these are for atomic access and for raw spans. */
enum {
    NETMAP_SLOT_BUF_IDX_OFFSET = offsetof(struct netmap_slot, buf_idx),
    NETMAP_SLOT_LEN_OFFSET = offsetof(struct netmap_slot, len),
    NETMAP_SLOT_FLAGS_OFFSET = offsetof(struct netmap_slot, flags),
    NETMAP_SLOT_PTR_OFFSET = offsetof(struct netmap_slot, ptr),
    NETMAP_SLOT_SIZE = sizeof(struct netmap_slot)
};

/* struct netmap_ring */
enum {
    NETMAP_RING_BUF_OFS_OFFSET = offsetof(struct netmap_ring, buf_ofs),
    NETMAP_RING_NUM_SLOTS_OFFSET = offsetof(struct netmap_ring, num_slots),
    NETMAP_RING_NR_BUF_SIZE_OFFSET = offsetof(struct netmap_ring, nr_buf_size),
    NETMAP_RING_RINGID_OFFSET = offsetof(struct netmap_ring, ringid),
    NETMAP_RING_DIR_OFFSET = offsetof(struct netmap_ring, dir),
    NETMAP_RING_HEAD_OFFSET = offsetof(struct netmap_ring, head),
    NETMAP_RING_CUR_OFFSET = offsetof(struct netmap_ring, cur),
    NETMAP_RING_TAIL_OFFSET = offsetof(struct netmap_ring, tail),
    NETMAP_RING_FLAGS_OFFSET = offsetof(struct netmap_ring, flags),
    NETMAP_RING_TS_OFFSET = offsetof(struct netmap_ring, ts),
    NETMAP_RING_TS_SEC_OFFSET = offsetof(struct netmap_ring, ts.tv_sec),
    NETMAP_RING_TS_USEC_OFFSET = offsetof(struct netmap_ring, ts.tv_usec),
    NETMAP_RING_OFFSET_MASK_OFFSET = offsetof(struct netmap_ring, offset_mask),
    NETMAP_RING_BUF_ALIGN_OFFSET = offsetof(struct netmap_ring, buf_align),
    NETMAP_RING_SEM_OFFSET = offsetof(struct netmap_ring, sem),
    NETMAP_RING_SEM_SIZE = sizeof(((struct netmap_ring *)0)->sem),
    NETMAP_RING_SLOTS_OFFSET = offsetof(struct netmap_ring, slot),
    NETMAP_RING_HEADER_SIZE = sizeof(struct netmap_ring),
    NETMAP_RING_ALIGNMENT = __alignof__(struct netmap_ring)
};

/* What netmap_ring.dir holds. */
enum {
    NETMAP_RING_DIR_RX = 0,
    NETMAP_RING_DIR_TX = 1
};

/* struct netmap_if */
enum {
    NETMAP_IF_NAME_OFFSET = offsetof(struct netmap_if, ni_name),
    NETMAP_IF_VERSION_OFFSET = offsetof(struct netmap_if, ni_version),
    NETMAP_IF_FLAGS_OFFSET = offsetof(struct netmap_if, ni_flags),
    NETMAP_IF_TX_RINGS_OFFSET = offsetof(struct netmap_if, ni_tx_rings),
    NETMAP_IF_RX_RINGS_OFFSET = offsetof(struct netmap_if, ni_rx_rings),
    NETMAP_IF_BUFS_HEAD_OFFSET = offsetof(struct netmap_if, ni_bufs_head),
    NETMAP_IF_HOST_TX_RINGS_OFFSET = offsetof(struct netmap_if, ni_host_tx_rings),
    NETMAP_IF_HOST_RX_RINGS_OFFSET = offsetof(struct netmap_if, ni_host_rx_rings),
    NETMAP_IF_SPARE1_OFFSET = offsetof(struct netmap_if, ni_spare1),
    NETMAP_IF_RING_OFS_OFFSET = offsetof(struct netmap_if, ring_ofs),
    NETMAP_IF_RING_OFS_STRIDE = sizeof(ssize_t),
    NETMAP_IF_HEADER_SIZE = sizeof(struct netmap_if),
    NETMAP_IF_ALIGNMENT = __alignof__(struct netmap_if)
};

/* struct nm_csb_atok and struct nm_csb_ktoa import as they are, but both sides access their words atomically. */
enum {
    NM_CSB_ATOK_HEAD_OFFSET = offsetof(struct nm_csb_atok, head),
    NM_CSB_ATOK_CUR_OFFSET = offsetof(struct nm_csb_atok, cur),
    NM_CSB_ATOK_APPL_NEED_KICK_OFFSET = offsetof(struct nm_csb_atok, appl_need_kick),
    NM_CSB_ATOK_SYNC_FLAGS_OFFSET = offsetof(struct nm_csb_atok, sync_flags),
    NM_CSB_KTOA_HWCUR_OFFSET = offsetof(struct nm_csb_ktoa, hwcur),
    NM_CSB_KTOA_HWTAIL_OFFSET = offsetof(struct nm_csb_ktoa, hwtail),
    NM_CSB_KTOA_KERN_NEED_KICK_OFFSET = offsetof(struct nm_csb_ktoa, kern_need_kick),
    /* The size of one entry, and the alignment of the arrays. */
    NM_CSB_ENTRY_SIZE = sizeof(struct nm_csb_atok)
};

/* struct nmreq_opt_sync_kloop_eventfds: the array after the option's header. */
enum {
    NMREQ_OPT_SYNC_KLOOP_EVENTFDS_OFFSET =
        offsetof(struct nmreq_opt_sync_kloop_eventfds, eventfds),
    NMREQ_OPT_SYNC_KLOOP_EVENTFDS_STRIDE =
        sizeof(((struct nmreq_opt_sync_kloop_eventfds *)0)->eventfds[0])
};

/* struct netmap_module_frame and _batch: Swift has its own structures, whose layout must agree with these. */
enum {
    NETMAP_MODULE_FRAME_LENGTH_OFFSET = offsetof(struct netmap_module_frame, length),
    NETMAP_MODULE_FRAME_FRAGMENTS_OFFSET = offsetof(struct netmap_module_frame, fragments),
    NETMAP_MODULE_FRAME_SIZE = sizeof(struct netmap_module_frame),
    NETMAP_MODULE_BATCH_VERDICTS_OFFSET = offsetof(struct netmap_module_batch, verdicts),
    NETMAP_MODULE_BATCH_ADDRESSES_OFFSET = offsetof(struct netmap_module_batch, addresses),
    NETMAP_MODULE_BATCH_COUNT_OFFSET = offsetof(struct netmap_module_batch, count),
    NETMAP_MODULE_BATCH_STRIDE_OFFSET = offsetof(struct netmap_module_batch, frame_stride),
    NETMAP_MODULE_BATCH_PORT_OFFSET = offsetof(struct netmap_module_batch, port),
    NETMAP_MODULE_BATCH_RING_OFFSET = offsetof(struct netmap_module_batch, ring),
    NETMAP_MODULE_BATCH_HEADER_OFFSET = offsetof(struct netmap_module_batch, header),
    NETMAP_MODULE_BATCH_DECIDED_OFFSET = offsetof(struct netmap_module_batch, decided),
    NETMAP_MODULE_BATCH_SLOTS_OFFSET = offsetof(struct netmap_module_batch, slots),
    NETMAP_MODULE_BATCH_BUFFERS_OFFSET = offsetof(struct netmap_module_batch, buffers),
    NETMAP_MODULE_BATCH_BUFFER_COUNT_OFFSET = offsetof(struct netmap_module_batch, buffer_count),
    NETMAP_MODULE_BATCH_BUFFER_SIZE_OFFSET = offsetof(struct netmap_module_batch, buffer_size),
    NETMAP_MODULE_BATCH_SIZE = sizeof(struct netmap_module_batch)
};

/*
 * Request numbers of ioctl(2). 32 bits wide, because the kernel uses only 32 bits, and a caller that
 * keeps a request in an int passes a sign-extended value.
 */
static const uint32_t NETMAP_IOCTL_GINFO = (uint32_t)NIOCGINFO;
static const uint32_t NETMAP_IOCTL_REGIF = (uint32_t)NIOCREGIF;
static const uint32_t NETMAP_IOCTL_TXSYNC = (uint32_t)NIOCTXSYNC;
static const uint32_t NETMAP_IOCTL_RXSYNC = (uint32_t)NIOCRXSYNC;
static const uint32_t NETMAP_IOCTL_CONFIG = (uint32_t)NIOCCONFIG;
static const uint32_t NETMAP_IOCTL_CTRL = (uint32_t)NIOCCTRL;

#endif /* CNETMAP_H */

/*
 * Proves, while compiling, that every layout and number of the headers is netmap's.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14, on 64-bit machines. There is no code here.
 */
#define LIBNETMAP_NOTHREADSAFE
#define NETMAP_WITH_LIBS
#include <CNetmap.h>
#include <libnetmap.h>
#include <net/netmap.h>
#include <net/netmap_user.h>
#include <stddef.h>
#include <stdint.h>

#define IS(what, value) _Static_assert((what) == (value), #what " is " #value " in the ABI")
#define SIZE(type, bytes) IS(sizeof(type), bytes)
#define ALIGN(type, bytes) IS(_Alignof(type), bytes)

/* A member is where it should be, and as large. */
#define AT(type, member, offset, bytes)                                                   \
    _Static_assert(offsetof(type, member) == (offset) &&                                  \
                       sizeof(((type *)0)->member) == (bytes),                            \
                   #type "." #member " is at " #offset ", " #bytes " bytes, in the ABI")
/* The same for an array of unknown length at the end. */
#define ENDS(type, member, offset, stride)                                                \
    _Static_assert(offsetof(type, member) == (offset) &&                                  \
                       sizeof(((type *)0)->member[0]) == (stride),                        \
                   #type "." #member "[] is at " #offset " in the ABI")

IS(sizeof(void *), 8);

/* ---- Versions and limits ---- */

IS(NETMAP_API, 14);
IS(NETMAP_MIN_API, 14);
IS(NETMAP_MAX_API, 15);
IS(NM_CACHE_ALIGN, 128);
IS(NETMAP_REQ_IFNAMSIZ, 64);
IS(NETMAP_IFNAMSIZ, 16);
IS(NETMAP_IFNAMSIZ, IF_NAMESIZE);
IS(NETMAP_REQ_MAXSIZE, 4096);
IS(NETMAP_MAX_FRAGS, 64);
SIZE(NM_BDG_NAME, sizeof("vale"));

/* ---- ioctl numbers: FreeBSD marks requests without an argument, Linux does not ---- */

#if defined(__FreeBSD__)
#define NO_ARGUMENT 0x20000000
#else
#define NO_ARGUMENT 0
#endif

IS((uint32_t)NIOCGINFO, 0xC03C6991);
IS((uint32_t)NIOCREGIF, 0xC03C6992);
IS((uint32_t)NIOCTXSYNC, NO_ARGUMENT + 0x6994);
IS((uint32_t)NIOCRXSYNC, NO_ARGUMENT + 0x6995);
IS((uint32_t)NIOCCONFIG, 0xC1106996);
IS((uint32_t)NIOCCTRL, 0xC0586997);

/* ---- Slots, rings and the interface object ---- */

SIZE(struct netmap_slot, 16);
ALIGN(struct netmap_slot, 8);
AT(struct netmap_slot, buf_idx, 0, 4);
AT(struct netmap_slot, len, 4, 2);
AT(struct netmap_slot, flags, 6, 2);
AT(struct netmap_slot, ptr, 8, 8);

SIZE(struct netmap_ring, 256);
ALIGN(struct netmap_ring, 128);
AT(struct netmap_ring, buf_ofs, 0, 8);
AT(struct netmap_ring, num_slots, 8, 4);
AT(struct netmap_ring, nr_buf_size, 12, 4);
AT(struct netmap_ring, ringid, 16, 2);
AT(struct netmap_ring, dir, 18, 2);
AT(struct netmap_ring, head, 20, 4);
AT(struct netmap_ring, cur, 24, 4);
AT(struct netmap_ring, tail, 28, 4);
AT(struct netmap_ring, flags, 32, 4);
AT(struct netmap_ring, ts, 40, 16);
AT(struct netmap_ring, ts.tv_sec, 40, 8);
AT(struct netmap_ring, ts.tv_usec, 48, 8);
AT(struct netmap_ring, offset_mask, 56, 8);
AT(struct netmap_ring, buf_align, 64, 8);
AT(struct netmap_ring, sem, 128, 128);
ENDS(struct netmap_ring, slot, 256, 16);

SIZE(struct netmap_if, 56);
ALIGN(struct netmap_if, 8);
AT(struct netmap_if, ni_name, 0, 16);
AT(struct netmap_if, ni_version, 16, 4);
AT(struct netmap_if, ni_flags, 20, 4);
AT(struct netmap_if, ni_tx_rings, 24, 4);
AT(struct netmap_if, ni_rx_rings, 28, 4);
AT(struct netmap_if, ni_bufs_head, 32, 4);
AT(struct netmap_if, ni_host_tx_rings, 36, 4);
AT(struct netmap_if, ni_host_rx_rings, 40, 4);
AT(struct netmap_if, ni_spare1, 44, 12);
ENDS(struct netmap_if, ring_ofs, 56, 8);

IS(NS_BUF_CHANGED, 0x0001);
IS(NS_REPORT, 0x0002);
IS(NS_FORWARD, 0x0004);
IS(NS_NO_LEARN, 0x0008);
IS(NS_INDIRECT, 0x0010);
IS(NS_MOREFRAG, 0x0020);
IS(NS_TXMON, 0x0040);
IS(NS_PORT_SHIFT, 8);
IS(NS_PORT_MASK, 0xff00);
IS(NR_TIMESTAMP, 0x0002);
IS(NR_FORWARD, 0x0004);
IS(NI_PRIV_MEM, 0x1);

/* ---- Control requests ---- */

SIZE(struct nmreq_header, 88);
AT(struct nmreq_header, nr_version, 0, 2);
AT(struct nmreq_header, nr_reqtype, 2, 2);
AT(struct nmreq_header, nr_reserved, 4, 4);
AT(struct nmreq_header, nr_name, 8, 64);
AT(struct nmreq_header, nr_options, 72, 8);
AT(struct nmreq_header, nr_body, 80, 8);

IS(NETMAP_REQ_REGISTER, 1);
IS(NETMAP_REQ_PORT_INFO_GET, 2);
IS(NETMAP_REQ_VALE_ATTACH, 3);
IS(NETMAP_REQ_VALE_DETACH, 4);
IS(NETMAP_REQ_VALE_LIST, 5);
IS(NETMAP_REQ_PORT_HDR_SET, 6);
IS(NETMAP_REQ_PORT_HDR_GET, 7);
IS(NETMAP_REQ_VALE_NEWIF, 8);
IS(NETMAP_REQ_VALE_DELIF, 9);
IS(NETMAP_REQ_VALE_POLLING_ENABLE, 10);
IS(NETMAP_REQ_VALE_POLLING_DISABLE, 11);
IS(NETMAP_REQ_POOLS_INFO_GET, 12);
IS(NETMAP_REQ_SYNC_KLOOP_START, 13);
IS(NETMAP_REQ_SYNC_KLOOP_STOP, 14);
IS(NETMAP_REQ_CSB_ENABLE, 15);

SIZE(struct nmreq_register, 56);
ALIGN(struct nmreq_register, 8);
AT(struct nmreq_register, nr_offset, 0, 8);
AT(struct nmreq_register, nr_memsize, 8, 8);
AT(struct nmreq_register, nr_tx_slots, 16, 4);
AT(struct nmreq_register, nr_rx_slots, 20, 4);
AT(struct nmreq_register, nr_tx_rings, 24, 2);
AT(struct nmreq_register, nr_rx_rings, 26, 2);
AT(struct nmreq_register, nr_host_tx_rings, 28, 2);
AT(struct nmreq_register, nr_host_rx_rings, 30, 2);
AT(struct nmreq_register, nr_mem_id, 32, 2);
AT(struct nmreq_register, nr_ringid, 34, 2);
AT(struct nmreq_register, nr_mode, 36, 4);
AT(struct nmreq_register, nr_extra_bufs, 40, 4);
AT(struct nmreq_register, nr_flags, 48, 8);

IS(NR_REG_DEFAULT, 0);
IS(NR_REG_ALL_NIC, 1);
IS(NR_REG_SW, 2);
IS(NR_REG_NIC_SW, 3);
IS(NR_REG_ONE_NIC, 4);
IS(NR_REG_PIPE_MASTER, 5);
IS(NR_REG_PIPE_SLAVE, 6);
IS(NR_REG_NULL, 7);
IS(NR_REG_ONE_SW, 8);

IS(NR_MONITOR_TX, 0x100);
IS(NR_MONITOR_RX, 0x200);
IS(NR_ZCOPY_MON, 0x400);
IS(NR_EXCLUSIVE, 0x800);
IS(NR_RX_RINGS_ONLY, 0x2000);
IS(NR_TX_RINGS_ONLY, 0x4000);
IS(NR_ACCEPT_VNET_HDR, 0x8000);
IS(NR_DO_RX_POLL, 0x10000);
IS(NR_NO_TX_POLL, 0x20000);

SIZE(struct nmreq_port_info_get, 32);
AT(struct nmreq_port_info_get, nr_memsize, 0, 8);
AT(struct nmreq_port_info_get, nr_tx_slots, 8, 4);
AT(struct nmreq_port_info_get, nr_rx_slots, 12, 4);
AT(struct nmreq_port_info_get, nr_tx_rings, 16, 2);
AT(struct nmreq_port_info_get, nr_rx_rings, 18, 2);
AT(struct nmreq_port_info_get, nr_host_tx_rings, 20, 2);
AT(struct nmreq_port_info_get, nr_host_rx_rings, 22, 2);
AT(struct nmreq_port_info_get, nr_mem_id, 24, 2);
AT(struct nmreq_port_info_get, pad, 26, 6);

SIZE(struct nmreq_vale_attach, 64);
AT(struct nmreq_vale_attach, reg, 0, 56);
AT(struct nmreq_vale_attach, port_index, 56, 4);
AT(struct nmreq_vale_attach, pad1, 60, 4);

SIZE(struct nmreq_vale_detach, 8);
AT(struct nmreq_vale_detach, port_index, 0, 4);
AT(struct nmreq_vale_detach, pad1, 4, 4);

SIZE(struct nmreq_vale_list, 8);
AT(struct nmreq_vale_list, nr_bridge_idx, 0, 2);
AT(struct nmreq_vale_list, pad1, 2, 2);
AT(struct nmreq_vale_list, nr_port_idx, 4, 4);

SIZE(struct nmreq_port_hdr, 8);
AT(struct nmreq_port_hdr, nr_hdr_len, 0, 4);
AT(struct nmreq_port_hdr, pad1, 4, 4);

SIZE(struct nmreq_vale_newif, 16);
AT(struct nmreq_vale_newif, nr_tx_slots, 0, 4);
AT(struct nmreq_vale_newif, nr_rx_slots, 4, 4);
AT(struct nmreq_vale_newif, nr_tx_rings, 8, 2);
AT(struct nmreq_vale_newif, nr_rx_rings, 10, 2);
AT(struct nmreq_vale_newif, nr_mem_id, 12, 2);
AT(struct nmreq_vale_newif, pad1, 14, 2);

SIZE(struct nmreq_vale_polling, 16);
AT(struct nmreq_vale_polling, nr_mode, 0, 4);
AT(struct nmreq_vale_polling, nr_first_cpu_id, 4, 4);
AT(struct nmreq_vale_polling, nr_num_polling_cpus, 8, 4);
AT(struct nmreq_vale_polling, pad1, 12, 4);
IS(NETMAP_POLLING_MODE_SINGLE_CPU, 1);
IS(NETMAP_POLLING_MODE_MULTI_CPU, 2);

SIZE(struct nmreq_pools_info, 64);
AT(struct nmreq_pools_info, nr_memsize, 0, 8);
AT(struct nmreq_pools_info, nr_mem_id, 8, 2);
AT(struct nmreq_pools_info, pad1, 10, 6);
AT(struct nmreq_pools_info, nr_if_pool_offset, 16, 8);
AT(struct nmreq_pools_info, nr_if_pool_objtotal, 24, 4);
AT(struct nmreq_pools_info, nr_if_pool_objsize, 28, 4);
AT(struct nmreq_pools_info, nr_ring_pool_offset, 32, 8);
AT(struct nmreq_pools_info, nr_ring_pool_objtotal, 40, 4);
AT(struct nmreq_pools_info, nr_ring_pool_objsize, 44, 4);
AT(struct nmreq_pools_info, nr_buf_pool_offset, 48, 8);
AT(struct nmreq_pools_info, nr_buf_pool_objtotal, 56, 4);
AT(struct nmreq_pools_info, nr_buf_pool_objsize, 60, 4);

SIZE(struct nmreq_sync_kloop_start, 8);
AT(struct nmreq_sync_kloop_start, sleep_us, 0, 4);
AT(struct nmreq_sync_kloop_start, pad1, 4, 4);

/* ---- Options ---- */

SIZE(struct nmreq_option, 24);
AT(struct nmreq_option, nro_next, 0, 8);
AT(struct nmreq_option, nro_reqtype, 8, 4);
AT(struct nmreq_option, nro_status, 12, 4);
AT(struct nmreq_option, nro_size, 16, 8);

IS(NETMAP_REQ_OPT_EXTMEM, 1);
IS(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, 2);
IS(NETMAP_REQ_OPT_CSB, 3);
IS(NETMAP_REQ_OPT_SYNC_KLOOP_MODE, 4);
IS(NETMAP_REQ_OPT_OFFSETS, 5);
IS(NETMAP_REQ_OPT_MAX, 6);

SIZE(struct nmreq_opt_extmem, 96);
AT(struct nmreq_opt_extmem, nro_opt, 0, 24);
AT(struct nmreq_opt_extmem, nro_usrptr, 24, 8);
AT(struct nmreq_opt_extmem, nro_info, 32, 64);

SIZE(struct nmreq_opt_sync_kloop_eventfds, 24);
AT(struct nmreq_opt_sync_kloop_eventfds, nro_opt, 0, 24);
ENDS(struct nmreq_opt_sync_kloop_eventfds, eventfds, 24, 8);
AT(struct nmreq_opt_sync_kloop_eventfds, eventfds[0].ioeventfd, 24, 4);
AT(struct nmreq_opt_sync_kloop_eventfds, eventfds[0].irqfd, 28, 4);

SIZE(struct nmreq_opt_csb, 40);
AT(struct nmreq_opt_csb, nro_opt, 0, 24);
AT(struct nmreq_opt_csb, csb_atok, 24, 8);
AT(struct nmreq_opt_csb, csb_ktoa, 32, 8);

SIZE(struct nmreq_opt_sync_kloop_mode, 32);
AT(struct nmreq_opt_sync_kloop_mode, nro_opt, 0, 24);
AT(struct nmreq_opt_sync_kloop_mode, mode, 24, 4);
IS(NM_OPT_SYNC_KLOOP_DIRECT_TX, 1);
IS(NM_OPT_SYNC_KLOOP_DIRECT_RX, 2);

SIZE(struct nmreq_opt_offsets, 56);
AT(struct nmreq_opt_offsets, nro_opt, 0, 24);
AT(struct nmreq_opt_offsets, nro_max_offset, 24, 8);
AT(struct nmreq_opt_offsets, nro_initial_offset, 32, 8);
AT(struct nmreq_opt_offsets, nro_offset_bits, 40, 4);
AT(struct nmreq_opt_offsets, nro_tx_align, 44, 4);
AT(struct nmreq_opt_offsets, nro_min_gap, 48, 8);

/* ---- CSB ---- */

SIZE(struct nm_csb_atok, 64);
AT(struct nm_csb_atok, head, 0, 4);
AT(struct nm_csb_atok, cur, 4, 4);
AT(struct nm_csb_atok, appl_need_kick, 8, 4);
AT(struct nm_csb_atok, sync_flags, 12, 4);
AT(struct nm_csb_atok, pad, 16, 48);

SIZE(struct nm_csb_ktoa, 64);
AT(struct nm_csb_ktoa, hwcur, 0, 4);
AT(struct nm_csb_ktoa, hwtail, 4, 4);
AT(struct nm_csb_ktoa, kern_need_kick, 8, 4);
AT(struct nm_csb_ktoa, pad, 12, 52);

/* ---- Legacy requests ---- */

SIZE(struct nmreq, 60);
ALIGN(struct nmreq, 4);
AT(struct nmreq, nr_name, 0, 16);
AT(struct nmreq, nr_version, 16, 4);
AT(struct nmreq, nr_offset, 20, 4);
AT(struct nmreq, nr_memsize, 24, 4);
AT(struct nmreq, nr_tx_slots, 28, 4);
AT(struct nmreq, nr_rx_slots, 32, 4);
AT(struct nmreq, nr_tx_rings, 36, 2);
AT(struct nmreq, nr_rx_rings, 38, 2);
AT(struct nmreq, nr_ringid, 40, 2);
AT(struct nmreq, nr_cmd, 42, 2);
AT(struct nmreq, nr_arg1, 44, 2);
AT(struct nmreq, nr_arg2, 46, 2);
AT(struct nmreq, nr_arg3, 48, 4);
AT(struct nmreq, nr_flags, 52, 4);
AT(struct nmreq, spare2, 56, 4);

IS(NETMAP_RING_MASK, 0x0fff);
IS(NETMAP_NO_TX_POLL, 0x1000);
IS(NETMAP_SW_RING, 0x2000);
IS(NETMAP_HW_RING, 0x4000);
IS(NETMAP_DO_RX_POLL, 0x8000);
IS(NR_REG_MASK, 0xf);

IS(NETMAP_BDG_ATTACH, 1);
IS(NETMAP_BDG_DETACH, 2);
IS(NETMAP_BDG_REGOPS, 3);
IS(NETMAP_BDG_LIST, 4);
IS(NETMAP_BDG_VNET_HDR, 5);
IS(NETMAP_BDG_NEWIF, 6);
IS(NETMAP_BDG_DELIF, 7);
IS(NETMAP_PT_HOST_CREATE, 8);
IS(NETMAP_PT_HOST_DELETE, 9);
IS(NETMAP_BDG_POLLING_ON, 10);
IS(NETMAP_BDG_POLLING_OFF, 11);
IS(NETMAP_VNET_HDR_GET, 12);
IS(NETMAP_BDG_HOST, 1);

SIZE(struct nm_ifreq, 272);
AT(struct nm_ifreq, nifr_name, 0, 16);
AT(struct nm_ifreq, data, 16, 256);
IS(NM_IFRDATA_LEN, 256);

/* ---- nm_open() and its family ---- */

SIZE(struct nm_pkthdr, 56);
AT(struct nm_pkthdr, ts, 0, 16);
AT(struct nm_pkthdr, caplen, 16, 4);
AT(struct nm_pkthdr, len, 20, 4);
AT(struct nm_pkthdr, flags, 24, 8);
AT(struct nm_pkthdr, d, 32, 8);
AT(struct nm_pkthdr, slot, 40, 8);
AT(struct nm_pkthdr, buf, 48, 8);
IS(NM_MORE_PKTS, 1);

SIZE(struct nm_stat, 12);
AT(struct nm_stat, ps_recv, 0, 4);
AT(struct nm_stat, ps_drop, 4, 4);
AT(struct nm_stat, ps_ifdrop, 8, 4);

SIZE(struct nm_desc, 760);
AT(struct nm_desc, self, 0, 8);
AT(struct nm_desc, fd, 8, 4);
AT(struct nm_desc, mem, 16, 8);
AT(struct nm_desc, memsize, 24, 8);
AT(struct nm_desc, done_mmap, 32, 4);
AT(struct nm_desc, nifp, 40, 8);
AT(struct nm_desc, first_tx_ring, 48, 2);
AT(struct nm_desc, last_tx_ring, 50, 2);
AT(struct nm_desc, cur_tx_ring, 52, 2);
AT(struct nm_desc, first_rx_ring, 54, 2);
AT(struct nm_desc, last_rx_ring, 56, 2);
AT(struct nm_desc, cur_rx_ring, 58, 2);
AT(struct nm_desc, req, 60, 60);
AT(struct nm_desc, hdr, 120, 56);
AT(struct nm_desc, some_ring, 176, 8);
AT(struct nm_desc, buf_start, 184, 8);
AT(struct nm_desc, buf_end, 192, 8);
AT(struct nm_desc, snaplen, 200, 4);
AT(struct nm_desc, promisc, 204, 4);
AT(struct nm_desc, to_ms, 208, 4);
AT(struct nm_desc, errbuf, 216, 8);
AT(struct nm_desc, if_flags, 224, 4);
AT(struct nm_desc, if_reqcap, 228, 4);
AT(struct nm_desc, if_curcap, 232, 4);
AT(struct nm_desc, st, 236, 12);
AT(struct nm_desc, msg, 248, 512);

IS(NM_OPEN_NO_MMAP, 0x040000);
IS(NM_OPEN_IFNAME, 0x080000);
IS(NM_OPEN_ARG1, 0x100000);
IS(NM_OPEN_ARG2, 0x200000);
IS(NM_OPEN_ARG3, 0x400000);
IS(NM_OPEN_RING_CFG, 0x800000);
IS(NM_ERRBUF_SIZE, 512);
IS(MAXERRMSG, 80);

/* ---- libnetmap ---- */

SIZE(struct nmport_d, 216);
AT(struct nmport_d, hdr, 0, 88);
AT(struct nmport_d, reg, 88, 56);
AT(struct nmport_d, mem, 144, 8);
AT(struct nmport_d, ctx, 152, 8);
AT(struct nmport_d, register_done, 160, 4);
AT(struct nmport_d, mmap_done, 164, 4);
AT(struct nmport_d, extmem, 168, 8);
AT(struct nmport_d, fd, 176, 4);
AT(struct nmport_d, nifp, 184, 8);
AT(struct nmport_d, first_tx_ring, 192, 2);
AT(struct nmport_d, last_tx_ring, 194, 2);
AT(struct nmport_d, first_rx_ring, 196, 2);
AT(struct nmport_d, last_rx_ring, 198, 2);
AT(struct nmport_d, cur_tx_ring, 200, 2);
AT(struct nmport_d, cur_rx_ring, 202, 2);
AT(struct nmport_d, clist, 208, 8);

SIZE(struct nmem_d, 48);
AT(struct nmem_d, mem_id, 0, 2);
AT(struct nmem_d, refcount, 4, 4);
AT(struct nmem_d, mem, 8, 8);
AT(struct nmem_d, size, 16, 8);
AT(struct nmem_d, is_extmem, 24, 4);
AT(struct nmem_d, next, 32, 8);
AT(struct nmem_d, prev, 40, 8);

SIZE(struct nmctx, 48);
AT(struct nmctx, verbose, 0, 4);
AT(struct nmctx, error, 8, 8);
AT(struct nmctx, malloc, 16, 8);
AT(struct nmctx, free, 24, 8);
AT(struct nmctx, lock, 32, 8);
AT(struct nmctx, mem_descs, 40, 8);

SIZE(struct nmreq_opt_key, 16);
AT(struct nmreq_opt_key, key, 0, 8);
AT(struct nmreq_opt_key, id, 8, 4);
AT(struct nmreq_opt_key, flags, 12, 4);

SIZE(struct nmreq_opt_parser, 304);
ALIGN(struct nmreq_opt_parser, 16);
AT(struct nmreq_opt_parser, prefix, 0, 8);
AT(struct nmreq_opt_parser, parse, 8, 8);
AT(struct nmreq_opt_parser, default_key, 16, 4);
AT(struct nmreq_opt_parser, nr_keys, 20, 4);
AT(struct nmreq_opt_parser, flags, 24, 4);
AT(struct nmreq_opt_parser, next, 32, 8);
AT(struct nmreq_opt_parser, keys, 40, 256);

SIZE(struct nmreq_parse_ctx, 144);
AT(struct nmreq_parse_ctx, ctx, 0, 8);
AT(struct nmreq_parse_ctx, token, 8, 8);
AT(struct nmreq_parse_ctx, keys, 16, 128);

IS(NMREQ_OPT_MAXKEYS, 16);
IS(NMREQ_OPTK_ALLOWEMPTY, 1);
IS(NMREQ_OPTK_MUSTSET, 2);
IS(NMREQ_OPTK_DEFAULT, 4);
IS(NMREQ_OPTF_DISABLED, 1);
IS(NMREQ_OPTF_ALLOWEMPTY, 2);

/* ---- What Swift gets: the constants are of these very structures, so one of each will do ---- */

IS(NETMAP_SLOT_SIZE, 16);
IS(NETMAP_RING_SLOTS_OFFSET, 256);
IS(NETMAP_RING_HEADER_SIZE, NETMAP_RING_SLOTS_OFFSET);
IS(NETMAP_RING_ALIGNMENT, 128);
IS(NETMAP_IF_RING_OFS_OFFSET, 56);
IS(NETMAP_IF_HEADER_SIZE, NETMAP_IF_RING_OFS_OFFSET);
IS(NETMAP_IF_RING_OFS_STRIDE, 8);
IS(NM_CSB_ENTRY_SIZE, sizeof(struct nm_csb_ktoa));
IS(NMREQ_OPT_SYNC_KLOOP_EVENTFDS_STRIDE, 8);

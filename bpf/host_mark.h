/*
 * The mark of a frame that an application has sent to the host: from the near end of the leg, where
 * host_leg.c sets it, to tc ingress of the interface, where packet_ingress_drop.c clears it. The filter of
 * NetmapLinuxSetup's packet sockets has the same number.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#ifndef NETMAP_HOST_MARK_H
#define NETMAP_HOST_MARK_H

#define NETMAP_HOST_MARK 0x6e6d6870

#endif

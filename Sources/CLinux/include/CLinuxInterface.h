/*
 * Queries about network interfaces: netdevice(7), <linux/sockios.h>, <linux/ethtool.h>,
 * rtnetlink(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_INTERFACE_H
#define CLINUX_INTERFACE_H

#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/veth.h>
#include <sys/ioctl.h>

/* ioctl(2) with a pointer: Swift cannot call variadic functions */
static inline int clinux_ioctl(int file, unsigned long request, void *argument)
{
	return ioctl(file, request, argument);
}

/* ioctl(2) requests. Swift cannot import them, because they are macros with casts or lie in other headers. */
static const unsigned long CLINUX_SIOCOUTQ = 0x5411;
static const unsigned long CLINUX_SIOCGIFNAME = 0x8910;
static const unsigned long CLINUX_SIOCGIFFLAGS = 0x8913;
static const unsigned long CLINUX_SIOCGIFMTU = 0x8921;
static const unsigned long CLINUX_SIOCETHTOOL = 0x8946;

/* The bit of ETHTOOL_GFLAGS and ETHTOOL_SFLAGS for tx-vlan-offload, of an enumeration in <linux/ethtool.h> */
enum {
	CLINUX_ETH_FLAG_TXVLAN = 1 << 7,
};

/* getsockopt(2), Linux 5.14: a number that identifies the socket's network namespace */
enum {
	CLINUX_SO_NETNS_COOKIE = 71,
};

/* struct ifreq: a name of 16 bytes, then a union of 24 */
enum {
	CLINUX_IFREQ_SIZE = 40,
	CLINUX_IFREQ_VALUE_OFFSET = 16,
	CLINUX_IFNAMSIZ = 16,
};

/* <linux/if.h> conflicts with <net/if.h>, which Glibc includes */
enum {
	CLINUX_IFF_UP = 1 << 0,
	CLINUX_IFF_RUNNING = 1 << 6,
	CLINUX_IFF_NOARP = 1 << 7,
};

/*
 * membarrier(2): MEMBARRIER_CMD_QUERY and MEMBARRIER_CMD_GLOBAL. Returns the supported commands, or 0, or -1 and sets errno.
 */
static const int CLINUX_MEMBARRIER_QUERY = 0;
static const int CLINUX_MEMBARRIER_GLOBAL = 1;

static inline int clinux_membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* netlink(7) and <linux/net_namespace.h> */
static const int CLINUX_SOL_NETLINK = 270;
static const int CLINUX_NETLINK_ADD_MEMBERSHIP = 1;
static const int CLINUX_NETLINK_DROP_MEMBERSHIP = 2;
static const int CLINUX_RTNLGRP_LINK = 1;
static const int CLINUX_RTNLGRP_TC = 4;
static const int CLINUX_RTM_GETNSID = 90;
static const int CLINUX_NETNSA_NSID = 1;
static const int CLINUX_NETNSA_FD = 3;

/* <linux/if_link.h>, rtnetlink(7) */
enum {
	CLINUX_IN6_ADDR_GEN_MODE_NONE = 1,
};

#endif

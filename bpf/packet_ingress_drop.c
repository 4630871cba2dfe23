/*
 * Drops host ingress: the host does not see the packets that arrive on an interface. The program is
 * attached at tc ingress. Packet sockets come before that, so they see the packets.
 *
 * A packet that an application has sent to the host passes.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "host_mark.h"

SEC("tc")
int netmap_drop(struct __sk_buff *packet)
{
	if (packet->mark != NETMAP_HOST_MARK)
		return TC_ACT_SHOT;
	packet->mark = 0;
	return TC_ACT_UNSPEC;
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

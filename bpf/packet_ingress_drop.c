/*
 * Drops host ingress: the host does not see the packets that arrive on an interface. The program is
 * attached at tc ingress. Packet sockets come before that, so they see the packets.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int netmap_drop(struct __sk_buff *packet)
{
	return TC_ACT_SHOT;
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

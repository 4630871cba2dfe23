/*
 * Keeps what arrives on an interface from the host: attached at tc ingress, which packet sockets come
 * before, so that they have seen the packet by then.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int netmap_blind(struct __sk_buff *packet)
{
	return TC_ACT_SHOT;
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

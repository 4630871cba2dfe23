/*
 * Joins an interface's host stack to the leg, a veth pair whose far end belongs to netmap.
 *
 * netmap_to_leg runs at tc egress of the interface: what the host sends there goes out of the near end of
 * the leg. netmap_to_host runs at tc ingress of the near end: what the application sends over the leg enters
 * the host stack as received by the interface.
 *
 * The loader writes the map before it attaches a program.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "host_mark.h"

struct leg {
	/* The index of the near end. */
	__u32 near;
	/* The index of the interface. */
	__u32 interface;
	/* Whether packet sockets receive the interface's frames: then they must leave out the host's own. */
	__u32 marks;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct leg);
} netmap_leg SEC(".maps");

SEC("tc")
int netmap_to_leg(struct __sk_buff *packet)
{
	__u32 key = 0;
	struct leg *leg = bpf_map_lookup_elem(&netmap_leg, &key);

	return leg ? bpf_redirect(leg->near, 0) : TC_ACT_SHOT;
}

SEC("tc")
int netmap_to_host(struct __sk_buff *packet)
{
	__u32 key = 0;
	struct leg *leg = bpf_map_lookup_elem(&netmap_leg, &key);

	if (!leg)
		return TC_ACT_SHOT;
	if (leg->marks)
		packet->mark = NETMAP_HOST_MARK;
	return bpf_redirect(leg->interface, BPF_F_INGRESS);
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

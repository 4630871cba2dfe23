/*
 * Hands every frame of a receive queue to the AF_XDP socket bound to that queue; frames of queues
 * without a socket go on to the host.
 *
 * The loader resizes the map to the interface's number of queues before it loads the object.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} netmap_sockets SEC(".maps");

SEC("xdp.frags")
int netmap_redirect(struct xdp_md *context)
{
	return bpf_redirect_map(&netmap_sockets, context->rx_queue_index, XDP_PASS);
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

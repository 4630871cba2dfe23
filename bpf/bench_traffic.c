/*
 * Programs for `netmap bench`: two that make frames in the kernel, and one that drops them.
 *
 * bench_send and bench_receive run on live frames of BPF_PROG_TEST_RUN. Each run of the program is one
 * frame with the bytes that the caller gave, and the frame goes where the program sends it. Every
 * program counts its runs.
 *
 * SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bench_frames SEC(".maps");

static __always_inline void count(void)
{
	__u32 key = 0;
	__u64 *frames = bpf_map_lookup_elem(&bench_frames, &key);

	if (frames)
		*frames += 1;
}

/* Sends the frame out of the ingress interface that the test run states: a veth's peer receives it. */
SEC("xdp")
int bench_send(struct xdp_md *context)
{
	count();
	return bpf_redirect(context->ingress_ifindex, 0);
}

/* Passes the frame on as received by the ingress interface that the test run states. */
SEC("xdp")
int bench_receive(struct xdp_md *context)
{
	count();
	return XDP_PASS;
}

/* Drops a measured frame. */
SEC("xdp")
int bench_drop(struct xdp_md *context)
{
	count();
	return XDP_DROP;
}

char netmap_license[] SEC("license") = "Dual BSD/GPL";

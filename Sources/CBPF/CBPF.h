/*
 * libbpf, and wrappers for the few of its calls that Swift cannot make itself.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CBPF_H
#define CBPF_H

#include <stdarg.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
extern int close(int descriptor);

static inline int cbpf_print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

/* netmap reports errors in its own messages. libbpf must not write to standard error. */
static inline void cbpf_be_quiet(void)
{
	libbpf_set_print(cbpf_print_nothing);
}

/*
 * Creates a bpf_link from a program to a network interface: XDP, or a newer attach type that libbpf's
 * header does not know (tcx). The link is a descriptor. When its last copy is closed, also by the death
 * of a process, the kernel detaches the program. Returns the descriptor or a negative errno.
 */
static inline int cbpf_link_create(int program, int interface, int attach_type, unsigned int flags)
{
	struct bpf_link_create_opts options = {
		.sz = sizeof(options),
		.flags = flags,
	};
	return bpf_link_create(program, interface, (enum bpf_attach_type)attach_type, &options);
}

/* The ids of the XDP programs attached to an interface, 0 for none. Returns 0 or a negative errno. */
static inline int cbpf_xdp_query(int interface, unsigned int *driver, unsigned int *generic,
				 unsigned int *hardware)
{
	struct bpf_xdp_query_opts options = { .sz = sizeof(options) };
	int error = bpf_xdp_query(interface, 0, &options);

	*driver = options.drv_prog_id;
	*generic = options.skb_prog_id;
	*hardware = options.hw_prog_id;
	return error;
}

/*
 * Attach, detach and query a direct-action program at tc ingress, for kernels without tcx (before 6.6).
 * Unlike a link, the program stays attached when the process ends. All return 0 or a negative errno.
 */
static inline int cbpf_clsact_attach(int program, int interface, unsigned int handle,
				     unsigned int priority)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = interface, .attach_point = BPF_TC_INGRESS,
	};
	struct bpf_tc_opts options = {
		.sz = sizeof(options), .prog_fd = program, .handle = handle, .priority = priority,
	};
	return bpf_tc_attach(&hook, &options);
}

static inline int cbpf_clsact_detach(int interface, unsigned int handle, unsigned int priority)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = interface, .attach_point = BPF_TC_INGRESS,
	};
	struct bpf_tc_opts options = {
		.sz = sizeof(options), .handle = handle, .priority = priority,
	};
	return bpf_tc_detach(&hook, &options);
}

/* The id of a filter's program. Returns -ENOENT where there is no such filter. */
static inline int cbpf_clsact_query(int interface, unsigned int handle, unsigned int priority,
				    unsigned int *program)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = interface, .attach_point = BPF_TC_INGRESS,
	};
	struct bpf_tc_opts options = {
		.sz = sizeof(options), .handle = handle, .priority = priority,
	};
	int error = bpf_tc_query(&hook, &options);

	*program = options.prog_id;
	return error;
}

/* The name of a loaded program, as the kernel keeps it: at most 15 characters. */
static inline int cbpf_program_name(unsigned int program, char name[16])
{
	struct bpf_prog_info information = {};
	unsigned int size = sizeof(information);
	int descriptor = bpf_prog_get_fd_by_id(program), error, i;

	if (descriptor < 0)
		return descriptor;
	error = bpf_obj_get_info_by_fd(descriptor, &information, &size);
	close(descriptor);
	for (i = 0; i < 16; i++)
		name[i] = information.name[i];
	return error;
}

/* Create and destroy the clsact qdisc. Creating one that exists returns -EEXIST. */
static inline int cbpf_clsact_create(int interface)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = interface, .attach_point = BPF_TC_INGRESS,
	};
	return bpf_tc_hook_create(&hook);
}

static inline int cbpf_clsact_destroy(int interface)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook), .ifindex = interface,
		.attach_point = (enum bpf_tc_attach_point)(BPF_TC_INGRESS | BPF_TC_EGRESS),
	};
	return bpf_tc_hook_destroy(&hook);
}

/*
 * Runs an XDP program `count` times on live frames, as if the interface had received them. Returns 0 or a
 * negative errno. Needs Linux 5.18.
 */
static inline int cbpf_run_live_frames(int program, const void *frame, unsigned int length,
				       unsigned int interface, int count)
{
	struct xdp_md context = { .data_end = length, .ingress_ifindex = interface };
	struct bpf_test_run_opts options = {
		.sz = sizeof(options),
		.data_in = frame, .data_size_in = length,
		.ctx_in = &context, .ctx_size_in = sizeof(context),
		.repeat = count,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
	};
	return bpf_prog_test_run_opts(program, &options);
}

#endif

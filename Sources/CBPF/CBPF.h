/*
 * libbpf, and the few of its calls that Swift cannot make itself.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CBPF_H
#define CBPF_H

#include <stdarg.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static inline int cbpf_print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

/* Errors are reported by our own messages, not by libbpf on standard error. */
static inline void cbpf_be_quiet(void)
{
	libbpf_set_print(cbpf_print_nothing);
}

/*
 * A bpf_link from a program to a network interface: XDP, or a newer attach type that libbpf's header
 * does not know (tcx). The link is a descriptor: when its last copy is closed, also by the death of
 * the process, the program is detached. Returns the descriptor or a negative errno.
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

#endif

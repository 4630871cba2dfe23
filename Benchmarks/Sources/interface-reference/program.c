/*
 * Wrappers of bpf(2), without a library.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "reference.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int load_program(int type, const void *instructions, unsigned int count, unsigned int attach_type)
{
	union bpf_attr attributes = {
		.prog_type = (uint32_t)type,
		.insns = (uintptr_t)instructions,
		.insn_cnt = count,
		.license = (uintptr_t)"Dual BSD/GPL",
		.expected_attach_type = attach_type,
	};
	const int program = bpf(BPF_PROG_LOAD, &attributes);

	if (program < 0)
		fail("BPF_PROG_LOAD");
	return program;
}

void attach_program(int program, unsigned int interface, unsigned int type, unsigned int flags)
{
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.link_create.prog_fd = (uint32_t)program;
	attributes.link_create.target_ifindex = interface;
	attributes.link_create.attach_type = type;
	attributes.link_create.flags = flags;
	if (bpf(BPF_LINK_CREATE, &attributes) < 0)
		fail("BPF_LINK_CREATE");
}

int create_socket_map(void)
{
	union bpf_attr attributes = {
		.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1,
	};
	const int map = bpf(BPF_MAP_CREATE, &attributes);

	if (map < 0)
		fail("BPF_MAP_CREATE");
	return map;
}

void set_socket(int map, uint32_t queue, int socket)
{
	union bpf_attr attributes = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&queue, .value = (uintptr_t)&socket,
	};

	if (bpf(BPF_MAP_UPDATE_ELEM, &attributes) != 0)
		fail("BPF_MAP_UPDATE_ELEM");
}

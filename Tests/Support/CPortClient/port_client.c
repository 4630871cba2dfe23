/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_client.h"

#include <fcntl.h>
#include <net/netmap_user.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

struct netmap_if *port_client_open(const char *name, int *file)
{
	struct nmreq_register request;
	struct nmreq_header header;
	char *memory;

	memset(&request, 0, sizeof request);
	memset(&header, 0, sizeof header);
	header.nr_version = NETMAP_API;
	header.nr_reqtype = NETMAP_REQ_REGISTER;
	header.nr_body = (uintptr_t)&request;
	strncpy(header.nr_name, name, sizeof header.nr_name - 1);
	request.nr_mode = NR_REG_ALL_NIC;
	*file = open("/dev/netmap", O_RDWR);
	if (*file < 0 || ioctl(*file, NIOCCTRL, &header) != 0)
		return NULL;
	memory = mmap(NULL, request.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
	if (memory == MAP_FAILED)
		return NULL;
	return NETMAP_IF(memory, request.nr_offset);
}

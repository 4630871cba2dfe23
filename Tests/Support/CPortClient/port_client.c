/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_client.h"

#include <fcntl.h>
#include <net/netmap_user.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int ask(int file, uint16_t type, const char *name, void *body, void *option)
{
	struct nmreq_header header;

	memset(&header, 0, sizeof header);
	header.nr_version = NETMAP_API;
	header.nr_reqtype = type;
	header.nr_body = (uintptr_t)body;
	header.nr_options = (uintptr_t)option;
	strncpy(header.nr_name, name, sizeof header.nr_name - 1);
	return ioctl(file, NIOCCTRL, &header);
}

/* Opens the device and binds it. Returns 0, or -1 with errno. */
static int bind_port(const char *name, struct nmreq_register *request, void *option, int *file)
{
	request->nr_mode = NR_REG_ALL_NIC;
	*file = open("/dev/netmap", O_RDWR);
	return *file < 0 ? -1 : ask(*file, NETMAP_REQ_REGISTER, name, request, option);
}

struct netmap_if *port_client_open_with(const char *name, uint64_t flags, int *file)
{
	struct nmreq_register request;
	char *memory;

	memset(&request, 0, sizeof request);
	request.nr_flags = flags;
	if (bind_port(name, &request, NULL, file) != 0)
		return NULL;
	memory = mmap(NULL, request.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
	if (memory == MAP_FAILED)
		return NULL;
	return NETMAP_IF(memory, request.nr_offset);
}

struct netmap_if *port_client_open(const char *name, int *file)
{
	return port_client_open_with(name, 0, file);
}

struct netmap_if *port_client_open_in(const char *name, void *memory, size_t size, int *file)
{
	struct nmreq_opt_extmem option;
	struct nmreq_register request;

	memset(&request, 0, sizeof request);
	memset(&option, 0, sizeof option);
	request.nr_tx_slots = request.nr_rx_slots = 64;
	option.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM;
	option.nro_usrptr = (uintptr_t)memory;
	option.nro_info.nr_memsize = size;
	option.nro_info.nr_ring_pool_objtotal = 2;
	option.nro_info.nr_buf_pool_objtotal = 256;
	if (bind_port(name, &request, &option, file) != 0)
		return NULL;
	return NETMAP_IF(memory, request.nr_offset);
}

int port_client_request(int file, uint16_t type, void *option)
{
	return ask(file, type, "", NULL, option);
}

int port_client_ask(int file, uint16_t type, void *body)
{
	return ask(file, type, "", body, NULL);
}

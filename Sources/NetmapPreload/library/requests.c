/*
 * nmreq_*: headers of requests, and their lists of options.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "library.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

SHOWN void nmreq_header_init(struct nmreq_header *hdr, uint16_t reqtype, void *body)
{
	*hdr = (struct nmreq_header){
		.nr_version = NETMAP_API,
		.nr_reqtype = reqtype,
		.nr_body = (uintptr_t)body,
	};
}

SHOWN void nmreq_push_option(struct nmreq_header *hdr, struct nmreq_option *option)
{
	option->nro_next = hdr->nr_options;
	hdr->nr_options = (uintptr_t)option;
}

SHOWN void nmreq_remove_option(struct nmreq_header *hdr, struct nmreq_option *option)
{
	uint64_t *link = &hdr->nr_options;

	while (*link && *link != (uintptr_t)option)
		link = &((struct nmreq_option *)(uintptr_t)*link)->nro_next;
	if (!*link)
		return;
	*link = option->nro_next;
	option->nro_next = 0;
}

SHOWN struct nmreq_option *nmreq_find_option(struct nmreq_header *hdr, uint32_t type)
{
	struct nmreq_option *option;

	nmreq_foreach_option(hdr, option)
		if (option->nro_reqtype == type)
			return option;
	return NULL;
}

SHOWN void nmreq_free_options(struct nmreq_header *hdr)
{
	struct nmreq_option *option = (struct nmreq_option *)(uintptr_t)hdr->nr_options;

	while (option) {
		struct nmreq_option *const next = (struct nmreq_option *)(uintptr_t)option->nro_next;

		free(option);
		option = next;
	}
}

SHOWN const char *nmreq_option_name(uint32_t type)
{
	switch (type) {
	case NETMAP_REQ_OPT_EXTMEM:
		return "extmem";
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
		return "sync-kloop-eventfds";
	case NETMAP_REQ_OPT_CSB:
		return "csb";
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return "sync-kloop-mode";
	case NETMAP_REQ_OPT_OFFSETS:
		return "offsets";
	}
	return "unknown";
}

/* Asks on a descriptor for the port at the beginning of *portname. Returns its region, or -1 with errno. */
static int32_t ask_mem_id(int fd, const char **portname, struct nmctx *ctx)
{
	struct nmreq_port_info_get info = { 0 };
	const char *rest = *portname;
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	if (nmreq_header_decode(&rest, &hdr, ctx))
		return -1;
	if (ioctl(fd, NIOCCTRL, &hdr))
		return REFUSE(ctx, errno, "%s: cannot ask for the port: %s", *portname, strerror(errno));
	*portname = rest;
	return info.nr_mem_id;
}

SHOWN int32_t nmreq_get_mem_id(const char **portname, struct nmctx *ctx)
{
	int32_t result;
	int fd, error;

	if (!*portname) {
		errno = EINVAL;
		return -1;
	}
	fd = open("/dev/netmap", O_RDWR);
	if (fd < 0)
		return REFUSE(ctx, errno, "cannot open /dev/netmap: %s", strerror(errno));
	result = ask_mem_id(fd, portname, ctx);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

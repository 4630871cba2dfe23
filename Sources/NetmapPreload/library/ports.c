/*
 * nmport_*: the life of a port, from its name to its rings and back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ports.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

void port_undo_later(struct nmport_d *d, struct nmport_cleanup_d *step)
{
	step->next = d->clist;
	d->clist = step;
}

void port_undo_last(struct nmport_d *d)
{
	struct nmport_cleanup_d *const step = d->clist;

	d->clist = step->next;
	step->undo(step, d);
	nmctx_free(d->ctx, step);
}

static struct nmport_d *new_port(struct nmctx *ctx)
{
	struct nmport_d *const d = nmctx_malloc(ctx, sizeof *d);

	if (!d) {
		nmctx_ferror(ctx, "no memory for a port");
		return NULL;
	}
	*d = (struct nmport_d){ .ctx = ctx, .fd = -1 };
	nmreq_header_init(&d->hdr, NETMAP_REQ_REGISTER, &d->reg);
	return d;
}

SHOWN struct nmport_d *nmport_new(void)
{
	return new_port(nmctx_get());
}

SHOWN void nmport_delete(struct nmport_d *d)
{
	nmctx_free(d->ctx, d);
}

SHOWN int nmport_parse(struct nmport_d *d, const char *portspec)
{
	const char *rest = portspec;
	int error;

	if (!nmreq_header_decode(&rest, &d->hdr, d->ctx) &&
	    !nmreq_register_decode(&rest, &d->reg, d->ctx) &&
	    !nmreq_options_decode(rest, port_options(), d, d->ctx))
		return 0;
	error = errno;
	nmport_undo_parse(d);
	errno = error;
	return -1;
}

SHOWN void nmport_undo_parse(struct nmport_d *d)
{
	while (d->clist)
		port_undo_last(d);
	memset(&d->reg, 0, sizeof d->reg);
	/* Ready to be parsed again. */
	nmreq_header_init(&d->hdr, NETMAP_REQ_REGISTER, &d->reg);
}

SHOWN struct nmport_d *nmport_prepare(const char *portspec)
{
	struct nmport_d *const d = nmport_new();
	int error;

	if (!d || !nmport_parse(d, portspec))
		return d;
	error = errno;
	nmport_undo_prepare(d);
	errno = error;
	return NULL;
}

SHOWN void nmport_undo_prepare(struct nmport_d *d)
{
	if (!d)
		return;
	nmport_undo_parse(d);
	nmport_delete(d);
}

/* Says why a request was refused: by its options, or by errno. */
static void explain(struct nmport_d *d)
{
	const int error = errno;
	struct nmreq_option *option;
	bool is_explained = false;

	nmreq_foreach_option(&d->hdr, option) {
		if (!option->nro_status)
			continue;
		nmctx_ferror(d->ctx, "%s: option %s: %s", d->hdr.nr_name,
			     nmreq_option_name(option->nro_reqtype), strerror((int)option->nro_status));
		is_explained = true;
	}
	if (!is_explained)
		nmctx_ferror(d->ctx, "%s: %s", d->hdr.nr_name, strerror(error));
	errno = error;
}

SHOWN int nmport_register(struct nmport_d *d)
{
	int error;

	if (d->register_done)
		return REFUSE(d->ctx, EINVAL, "%s: it is registered already", d->hdr.nr_name);
	d->fd = open("/dev/netmap", O_RDWR);
	if (d->fd < 0)
		return REFUSE(d->ctx, errno, "cannot open /dev/netmap: %s", strerror(errno));
	if (!ioctl(d->fd, NIOCCTRL, &d->hdr)) {
		d->register_done = 1;
		return 0;
	}
	explain(d);
	error = errno;
	nmport_undo_register(d);
	errno = error;
	return -1;
}

SHOWN void nmport_undo_register(struct nmport_d *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	d->register_done = 0;
}

/* Maps the region of a port, or takes the program's memory. Returns NULL after a message. */
static struct nmem_d *new_region(struct nmport_d *d)
{
	struct nmem_d *const region = nmctx_malloc(d->ctx, sizeof *region);

	if (!region) {
		(void)REFUSE(d->ctx, ENOMEM, "%s: no memory for a region", d->hdr.nr_name);
		return NULL;
	}
	*region = (struct nmem_d){ .mem_id = d->reg.nr_mem_id };
	if (d->extmem) {
		region->mem = (void *)(uintptr_t)d->extmem->nro_usrptr;
		region->size = d->extmem->nro_info.nr_memsize;
		region->is_extmem = 1;
	} else {
		region->size = d->reg.nr_memsize;
		region->mem = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	}
	if (region->mem != MAP_FAILED)
		return region;
	(void)REFUSE(d->ctx, errno, "%s: cannot map the region: %s", d->hdr.nr_name, strerror(errno));
	nmctx_free(d->ctx, region);
	return NULL;
}

/* The mapping of the port's region that the context has, or a new one; with one more user. NULL after a message. */
static struct nmem_d *use_region(struct nmport_d *d)
{
	struct nmctx *const ctx = d->ctx;
	struct nmem_d *region = ctx->mem_descs;

	while (region && region->mem_id != d->reg.nr_mem_id)
		region = region->next;
	if (!region) {
		region = new_region(d);
		if (!region)
			return NULL;
		region->next = ctx->mem_descs;
		if (region->next)
			region->next->prev = region;
		ctx->mem_descs = region;
	}
	region->refcount++;
	return region;
}

/* The first and the last of the bound rings, which have an offset; `first` is the number of the rings if there is none. */
static void find_bound(const ssize_t *offsets, unsigned int count, uint16_t *first, uint16_t *last)
{
	unsigned int ring = 0;

	while (ring < count && !offsets[ring])
		ring++;
	*first = (uint16_t)ring;
	while (ring < count && offsets[ring])
		ring++;
	*last = (uint16_t)(ring - 1);
}

SHOWN int nmport_mmap(struct nmport_d *d)
{
	unsigned int transmit, receive;

	if (d->mmap_done)
		return REFUSE(d->ctx, EINVAL, "%s: it is mapped already", d->hdr.nr_name);
	if (!d->register_done)
		return REFUSE(d->ctx, EINVAL, "%s: it is not registered", d->hdr.nr_name);
	nmctx_lock(d->ctx);
	d->mem = use_region(d);
	nmctx_unlock(d->ctx);
	if (!d->mem)
		return -1;
	d->nifp = NETMAP_IF(d->mem->mem, d->reg.nr_offset);
	transmit = d->reg.nr_tx_rings + d->nifp->ni_host_tx_rings;
	receive = d->reg.nr_rx_rings + d->nifp->ni_host_rx_rings;
	find_bound(d->nifp->ring_ofs, transmit, &d->first_tx_ring, &d->last_tx_ring);
	find_bound(d->nifp->ring_ofs + transmit, receive, &d->first_rx_ring, &d->last_rx_ring);
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
	d->mmap_done = 1;
	return 0;
}

SHOWN void nmport_undo_mmap(struct nmport_d *d)
{
	struct nmem_d *const region = d->mem;

	if (!region)
		return;
	nmctx_lock(d->ctx);
	if (--region->refcount <= 0) {
		if (!region->is_extmem)
			munmap(region->mem, region->size);
		if (region->next)
			region->next->prev = region->prev;
		if (region->prev)
			region->prev->next = region->next;
		else
			d->ctx->mem_descs = region->next;
		nmctx_free(d->ctx, region);
	}
	nmctx_unlock(d->ctx);
	d->mem = NULL;
	d->nifp = NULL;
	d->mmap_done = 0;
	d->first_tx_ring = d->last_tx_ring = d->cur_tx_ring = 0;
	d->first_rx_ring = d->last_rx_ring = d->cur_rx_ring = 0;
}

SHOWN int nmport_open_desc(struct nmport_d *d)
{
	int error;

	if (!nmport_register(d) && !nmport_mmap(d))
		return 0;
	error = errno;
	nmport_undo_open_desc(d);
	errno = error;
	return -1;
}

SHOWN void nmport_undo_open_desc(struct nmport_d *d)
{
	nmport_undo_mmap(d);
	nmport_undo_register(d);
}

SHOWN struct nmport_d *nmport_open(const char *portspec)
{
	struct nmport_d *const d = nmport_prepare(portspec);
	int error;

	if (!d || !nmport_open_desc(d))
		return d;
	error = errno;
	nmport_close(d);
	errno = error;
	return NULL;
}

SHOWN void nmport_close(struct nmport_d *d)
{
	if (!d)
		return;
	nmport_undo_open_desc(d);
	nmport_undo_prepare(d);
}

SHOWN struct nmport_d *nmport_clone(struct nmport_d *d)
{
	struct nmport_d *copy;

	if (d->extmem && !d->register_done) {
		(void)REFUSE(d->ctx, EINVAL, "%s: its region does not exist yet", d->hdr.nr_name);
		return NULL;
	}
	copy = new_port(d->ctx);
	if (!copy)
		return NULL;
	copy->hdr = d->hdr;
	copy->hdr.nr_body = (uintptr_t)&copy->reg;
	copy->hdr.nr_options = 0;
	copy->reg = d->reg;
	return copy;
}

/* Queues a frame on one ring, in as many slots as it takes. Returns false if there are too few. */
static bool inject(struct netmap_ring *ring, const char *bytes, size_t size)
{
	const uint32_t tail = ring->tail;
	uint32_t last = ring->cur, slot;
	size_t rest = size;

	for (; rest > ring->nr_buf_size && last != tail; last = nm_ring_next(ring, last))
		rest -= ring->nr_buf_size;
	if (last == tail && rest)
		return false;
	for (slot = ring->cur; slot != last; slot = nm_ring_next(ring, slot)) {
		nm_pkt_copy(bytes, NETMAP_BUF(ring, ring->slot[slot].buf_idx), (int)ring->nr_buf_size);
		ring->slot[slot].len = (uint16_t)ring->nr_buf_size;
		ring->slot[slot].flags = NS_MOREFRAG;
		bytes += ring->nr_buf_size;
	}
	nm_pkt_copy(bytes, NETMAP_BUF(ring, ring->slot[last].buf_idx), (int)rest);
	ring->slot[last].len = (uint16_t)rest;
	ring->slot[last].flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, last);
	return true;
}

SHOWN int nmport_inject(struct nmport_d *d, const void *buf, size_t size)
{
	const unsigned int count = (unsigned int)(d->last_tx_ring - d->first_tx_ring + 1);
	unsigned int ring = d->cur_tx_ring;

	for (unsigned int i = 0; i < count; i++, ring++) {
		if (ring > d->last_tx_ring)
			ring = d->first_tx_ring;
		if (!inject(NETMAP_TXRING(d->nifp, ring), buf, size))
			continue;
		d->cur_tx_ring = (uint16_t)ring;
		return (int)size;
	}
	return 0;
}

/*
 * Options of ports: external memory, offsets, ring and slot counts, shared regions; by function, or in a port's name.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ports.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Memory from the port's context, all zero. NULL after a message. */
static void *allocate(struct nmport_d *d, size_t size)
{
	void *const memory = nmctx_malloc(d->ctx, size);

	if (memory)
		memset(memory, 0, size);
	else
		(void)REFUSE(d->ctx, ENOMEM, "%s: no memory for an option", d->hdr.nr_name);
	return memory;
}

static void undo_extmem(struct nmport_cleanup_d *step, struct nmport_d *d)
{
	(void)step;
	if (!d->extmem)
		return;
	nmreq_remove_option(&d->hdr, &d->extmem->nro_opt);
	nmctx_free(d->ctx, d->extmem);
	d->extmem = NULL;
}

SHOWN int nmport_extmem(struct nmport_d *d, void *base, size_t size)
{
	struct nmport_cleanup_d *step;

	if (d->register_done)
		return REFUSE(d->ctx, EINVAL, "%s: it is registered already", d->hdr.nr_name);
	if (d->extmem)
		return REFUSE(d->ctx, EINVAL, "%s: it has external memory already", d->hdr.nr_name);
	step = allocate(d, sizeof *step);
	if (!step)
		return -1;
	d->extmem = allocate(d, sizeof *d->extmem);
	if (!d->extmem) {
		nmctx_free(d->ctx, step);
		errno = ENOMEM;
		return -1;
	}
	d->extmem->nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM;
	d->extmem->nro_usrptr = (uintptr_t)base;
	d->extmem->nro_info.nr_memsize = size;
	nmreq_push_option(&d->hdr, &d->extmem->nro_opt);
	step->undo = undo_extmem;
	port_undo_later(d, step);
	return 0;
}

struct file_step {
	struct nmport_cleanup_d step;
	void *memory;
	size_t size;
};

static void undo_file(struct nmport_cleanup_d *step, struct nmport_d *d)
{
	struct file_step *const file = (struct file_step *)step;

	(void)d;
	munmap(file->memory, file->size);
}

/* Maps all of a file. Returns -1 after a message. */
static int map_file(struct nmport_d *d, const char *fname, struct file_step *file)
{
	const int fd = open(fname, O_RDWR);
	off_t size;
	int error;

	if (fd < 0)
		return REFUSE(d->ctx, errno, "cannot open '%s': %s", fname, strerror(errno));
	size = lseek(fd, 0, SEEK_END);
	file->size = (size_t)size;
	file->memory = size < 0 ? MAP_FAILED
				: mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	error = errno;
	close(fd);
	if (file->memory == MAP_FAILED)
		return REFUSE(d->ctx, error, "cannot map '%s': %s", fname, strerror(error));
	return 0;
}

SHOWN int nmport_extmem_from_file(struct nmport_d *d, const char *fname)
{
	struct file_step *const file = allocate(d, sizeof *file);
	int error;

	if (!file)
		return -1;
	if (map_file(d, fname, file)) {
		error = errno;
		nmctx_free(d->ctx, file);
		errno = error;
		return -1;
	}
	file->step.undo = undo_file;
	port_undo_later(d, &file->step);
	if (!nmport_extmem(d, file->memory, file->size))
		return 0;
	error = errno;
	port_undo_last(d);
	errno = error;
	return -1;
}

SHOWN struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d)
{
	return d->extmem ? &d->extmem->nro_info : NULL;
}

struct offset_step {
	struct nmport_cleanup_d step;
	struct nmreq_opt_offsets option;
};

static void undo_offset(struct nmport_cleanup_d *step, struct nmport_d *d)
{
	nmreq_remove_option(&d->hdr, &((struct offset_step *)step)->option.nro_opt);
}

SHOWN int nmport_offset(struct nmport_d *d, uint64_t initial, uint64_t maxoff, uint64_t bits,
			uint64_t mingap)
{
	struct offset_step *const offset = allocate(d, sizeof *offset);

	if (!offset)
		return -1;
	offset->option.nro_opt.nro_reqtype = NETMAP_REQ_OPT_OFFSETS;
	offset->option.nro_max_offset = maxoff;
	offset->option.nro_initial_offset = initial;
	offset->option.nro_offset_bits = (uint32_t)bits;
	offset->option.nro_min_gap = mingap;
	nmreq_push_option(&d->hdr, &offset->option.nro_opt);
	offset->step.undo = undo_offset;
	port_undo_later(d, &offset->step);
	return 0;
}

/* The number that is the value of a key; 0 without digits. */
static uint32_t number(const char *value)
{
	return (uint32_t)strtol(value, NULL, 10);
}

/* Options in names */

enum { SHARE_PORT };

static int parse_share(struct nmreq_parse_ctx *parse)
{
	struct nmport_d *const d = parse->token;
	const char *name = parse->keys[SHARE_PORT];
	const int32_t region = nmreq_get_mem_id(&name, parse->ctx);

	if (region < 0)
		return -1;
	if (d->reg.nr_mem_id && d->reg.nr_mem_id != region)
		return REFUSE(parse->ctx, EINVAL, "region %d contradicts region %u", region,
			      d->reg.nr_mem_id);
	d->reg.nr_mem_id = (uint16_t)region;
	return 0;
}

enum { EXTMEM_FILE, IF_NUM, IF_SIZE, RING_NUM, RING_SIZE, BUF_NUM, BUF_SIZE };

static int parse_extmem(struct nmreq_parse_ctx *parse)
{
	struct nmport_d *const d = parse->token;
	struct nmreq_pools_info *pools;

	if (nmport_extmem_from_file(d, parse->keys[EXTMEM_FILE]))
		return -1;
	pools = &d->extmem->nro_info;

	uint32_t *const fields[] = {
		[IF_NUM] = &pools->nr_if_pool_objtotal,	    [IF_SIZE] = &pools->nr_if_pool_objsize,
		[RING_NUM] = &pools->nr_ring_pool_objtotal, [RING_SIZE] = &pools->nr_ring_pool_objsize,
		[BUF_NUM] = &pools->nr_buf_pool_objtotal,   [BUF_SIZE] = &pools->nr_buf_pool_objsize,
	};

	for (int key = IF_NUM; key <= BUF_SIZE; key++)
		if (parse->keys[key])
			*fields[key] = number(parse->keys[key]);
	return 0;
}

enum { RINGS, HOST_RINGS, SLOTS, TX_RINGS, RX_RINGS, HOST_TX_RINGS, HOST_RX_RINGS, TX_SLOTS, RX_SLOTS };

/* The value of the specific key, else that of the general one, else what there is. */
static uint32_t chosen(const struct nmreq_parse_ctx *parse, int specific, int general, uint32_t otherwise)
{
	if (parse->keys[specific])
		return number(parse->keys[specific]);
	return parse->keys[general] ? number(parse->keys[general]) : otherwise;
}

static int parse_conf(struct nmreq_parse_ctx *parse)
{
	struct nmreq_register *const reg = &((struct nmport_d *)parse->token)->reg;

	reg->nr_tx_rings = (uint16_t)chosen(parse, TX_RINGS, RINGS, reg->nr_tx_rings);
	reg->nr_rx_rings = (uint16_t)chosen(parse, RX_RINGS, RINGS, reg->nr_rx_rings);
	reg->nr_host_tx_rings =
		(uint16_t)chosen(parse, HOST_TX_RINGS, HOST_RINGS, reg->nr_host_tx_rings);
	reg->nr_host_rx_rings =
		(uint16_t)chosen(parse, HOST_RX_RINGS, HOST_RINGS, reg->nr_host_rx_rings);
	reg->nr_tx_slots = chosen(parse, TX_SLOTS, SLOTS, reg->nr_tx_slots);
	reg->nr_rx_slots = chosen(parse, RX_SLOTS, SLOTS, reg->nr_rx_slots);
	return 0;
}

enum { OFFSET_INITIAL, OFFSET_BITS };

static int parse_offset(struct nmreq_parse_ctx *parse)
{
	const uint32_t initial = number(parse->keys[OFFSET_INITIAL]);
	const char *const bits = parse->keys[OFFSET_BITS];

	return nmport_offset(parse->token, initial, initial, bits ? number(bits) : 0, 0);
}

#define FIRST(name, id) { name, id, NMREQ_OPTK_DEFAULT | NMREQ_OPTK_MUSTSET }
#define KEY(name, id) { name, id, 0 }

static struct nmreq_opt_parser options[] = {
	{ .prefix = "share",
	  .parse = parse_share,
	  .default_key = SHARE_PORT,
	  .nr_keys = 1,
	  .next = &options[1],
	  .keys = { FIRST("port", SHARE_PORT) } },
	{ .prefix = "extmem",
	  .parse = parse_extmem,
	  .default_key = EXTMEM_FILE,
	  .nr_keys = 7,
	  .next = &options[2],
	  .keys = { FIRST("file", EXTMEM_FILE), KEY("if_num", IF_NUM), KEY("if_size", IF_SIZE),
		    KEY("ring_num", RING_NUM), KEY("ring_size", RING_SIZE), KEY("buf_num", BUF_NUM),
		    KEY("buf_size", BUF_SIZE) } },
	{ .prefix = "conf",
	  .parse = parse_conf,
	  .default_key = -1,
	  .nr_keys = 9,
	  .next = &options[3],
	  .keys = { KEY("rings", RINGS), KEY("host_rings", HOST_RINGS), KEY("slots", SLOTS),
		    KEY("tx_rings", TX_RINGS), KEY("rx_rings", RX_RINGS),
		    KEY("host_tx_rings", HOST_TX_RINGS), KEY("host_rx_rings", HOST_RX_RINGS),
		    KEY("tx_slots", TX_SLOTS), KEY("rx_slots", RX_SLOTS) } },
	{ .prefix = "offset",
	  .parse = parse_offset,
	  .default_key = OFFSET_INITIAL,
	  .nr_keys = 2,
	  .flags = NMREQ_OPTF_DISABLED,
	  .keys = { FIRST("initial", OFFSET_INITIAL), KEY("bits", OFFSET_BITS) } },
};

struct nmreq_opt_parser *port_options(void)
{
	return options;
}

static struct nmreq_opt_parser *find(const char *name)
{
	for (struct nmreq_opt_parser *one = options; one; one = one->next)
		if (!strcmp(one->prefix, name))
			return one;
	return NULL;
}

SHOWN void nmport_disable_option(const char *opt)
{
	struct nmreq_opt_parser *const option = find(opt);

	if (option)
		option->flags |= NMREQ_OPTF_DISABLED;
}

SHOWN int nmport_enable_option(const char *opt)
{
	struct nmreq_opt_parser *const option = find(opt);

	if (!option) {
		errno = EOPNOTSUPP;
		return -1;
	}
	option->flags &= ~NMREQ_OPTF_DISABLED;
	return 0;
}
